"""Tasks that find things in pictures, or between pictures."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.base import IMAGE_PROCESSOR, TOKENIZER, Task
from steps.tasks.image import PICTURE

LABELS = ["ship", "busy yard", "lighthouse"]

TASKS = (
    Task(
        name="object-detection",
        title="What is where in a picture, of the model's classes",
        family="image",
        service="object_detection",
        mappings=("OBJECT_DETECTION",),
        needs=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"threshold": 0.2}, files={"image": PICTURE}),
    ),
    Task(
        name="zero-shot-object-detection",
        title="Where in a picture is what the request names",
        family="image",
        service="zero_shot_object_detection",
        # Not Owlv2: without torchvision its processor needs SciPy, and fills any picture up to a square. Not OmDet-Turbo:
        # transformers' pipeline asks it in another model's way.
        classes=("OwlViTForObjectDetection", "GroundingDinoForObjectDetection", "MMGroundingDinoForObjectDetection"),
        needs=(IMAGE_PROCESSOR, TOKENIZER),
        golden=GoldenRequest(fields={"candidate_labels": LABELS, "threshold": 0.1}, files={"image": PICTURE}),
    ),
    Task(
        name="zero-shot-image-classification",
        title="Which of the request's labels fits a picture",
        family="image",
        service="zero_shot_image_classification",
        # Not all that transformers' table lists: VideoPrism is shown films, and BLIP-2 is no model of two towers unless its
        # configuration says so.
        classes=(
            "AlignModel",
            "AltCLIPModel",
            "BlipModel",
            "CLIPModel",
            "CLIPSegModel",
            "ChineseCLIPModel",
            "MetaClip2Model",
            "Siglip2Model",
            "SiglipModel",
            "Tipsv2Model",
        ),
        needs=(IMAGE_PROCESSOR, TOKENIZER),
        golden=GoldenRequest(
            fields={"candidate_labels": LABELS, "hypothesis_template": "This is a photo of {}."}, files={"image": PICTURE}
        ),
    ),
    Task(
        name="keypoint-matching",
        title="Which points of two pictures are the same",
        family="image",
        service="keypoint_matching",
        mappings=("KEYPOINT_MATCHING",),
        needs=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"threshold": 0.0}, files={"image": PICTURE, "other": "golden/other-picture.png"}),
    ),
)

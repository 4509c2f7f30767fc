"""Tasks that find objects in an image, compare it with labels of the request, or match two images."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.base import IMAGE_PROCESSOR, TOKENIZER, Task
from steps.tasks.image import IMAGE

LABELS = ["ship", "busy yard", "lighthouse"]

TASKS = (
    Task(
        name="object-detection",
        title="Detect objects of the model's classes in an image",
        family="image",
        auto=True,
        mappings=("OBJECT_DETECTION",),
        components=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"threshold": 0.2}, files={"image": IMAGE}),
    ),
    Task(
        name="zero-shot-object-detection",
        title="Detect objects in an image by labels that are given in the request",
        family="image",
        auto=True,
        # Not Owlv2: without torchvision its processor needs SciPy, and pads every image to a square. Not OmDet-Turbo:
        # transformers' pipeline passes it inputs that are meant for another model.
        architectures=("OwlViTForObjectDetection", "GroundingDinoForObjectDetection", "MMGroundingDinoForObjectDetection"),
        components=(IMAGE_PROCESSOR, TOKENIZER),
        golden=GoldenRequest(fields={"candidate_labels": LABELS, "threshold": 0.1}, files={"image": IMAGE}),
    ),
    Task(
        name="zero-shot-image-classification",
        title="Classify an image with labels that are given in the request",
        family="image",
        auto=True,
        # Not every class of transformers' table: VideoPrism takes videos, and BLIP-2 compares an image with a text only if
        # its configuration says so.
        architectures=(
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
        components=(IMAGE_PROCESSOR, TOKENIZER),
        golden=GoldenRequest(
            fields={"candidate_labels": LABELS, "hypothesis_template": "This is a photo of {}."}, files={"image": IMAGE}
        ),
    ),
    Task(
        name="keypoint-matching",
        title="Match the keypoints of two images",
        family="image",
        auto=True,
        mappings=("KEYPOINT_MATCHING",),
        components=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"threshold": 0.0}, files={"image": IMAGE, "other": "golden/other-picture.png"}),
    ),
)

"""Tasks that take a picture and tell about it, or make another one of it.

None of them has a ``batch``: a picture keeps one core busy by itself, and several at once cost a few per cent less each, for
which the first would have to wait until the last is done (``python -m tests.steps.tasks.batching``).
"""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.architectures import tables
from steps.tasks.base import IMAGE_PROCESSOR, Task

PICTURE = "golden/picture.png"
SMALL_PICTURE = "golden/small-picture.png"  # for models that take long for each pixel


def _encoders() -> tuple[str, ...]:
    """Classes of the types that transformers' ``AutoModel`` opens to look at a picture, whatever was learned on top.

    Not those of video models, which are in the same table.
    """
    types = tables()["IMAGE"].keys() - tables()["VIDEO_CLASSIFICATION"].keys()
    heads = ("IMAGE", "IMAGE_CLASSIFICATION", "MASKED_IMAGE_MODELING")
    return tuple(name for head in heads for key, names in tables()[head].items() if key in types for name in names)


TASKS = (
    Task(
        name="image-classification",
        title="Which of the model's classes a picture shows",
        family="image",
        service="image_classification",
        mappings=("IMAGE_CLASSIFICATION",),
        needs=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"top_k": 5}, files={"image": PICTURE}),
    ),
    Task(
        name="image-feature-extraction",
        title="The vectors that a model makes of a picture",
        family="image",
        service="image_feature_extraction",
        classes=_encoders(),
        any_head=True,
        needs=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"pooling": "none"}, files={"image": PICTURE}),
    ),
    Task(
        name="image-segmentation",
        title="Which pixels of a picture belong together, and what they show",
        family="image",
        service="image_segmentation",
        mappings=("IMAGE_SEGMENTATION", "SEMANTIC_SEGMENTATION", "INSTANCE_SEGMENTATION", "UNIVERSAL_SEGMENTATION"),
        needs=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"threshold": 0.5}, files={"image": PICTURE}),
    ),
    Task(
        name="depth-estimation",
        title="How far away each pixel of a picture is",
        family="image",
        service="depth_estimation",
        mappings=("DEPTH_ESTIMATION",),
        needs=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(files={"image": PICTURE}),
    ),
    Task(
        name="image-to-image",
        title="A picture made of a picture, such as a larger and sharper one",
        family="image",
        service="image_to_image",
        mappings=("IMAGE_TO_IMAGE",),
        needs=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(files={"image": SMALL_PICTURE}),
    ),
    Task(
        name="mask-generation",
        title="Masks of the things in a picture: of all, or of those pointed at",
        family="image",
        service="mask_generation",
        # SAM 2, SAM 3 and EdgeTAM are in the table too, but their processors exist for torchvision alone.
        mappings=("MASK_GENERATION",),
        needs=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"points_per_side": 4}, files={"image": PICTURE}),
    ),
)

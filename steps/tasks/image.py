"""Tasks that take one image.

None of them has a ``max_batch_size``: one image keeps a core busy, and a batch saves only a few per cent for each, while the
first request waits for the last (measured by ``python -m tests.benchmarks.batching``).
"""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.architectures import tables
from steps.tasks.base import IMAGE_PROCESSOR, Task

IMAGE = "golden/picture.png"
SMALL_IMAGE = "golden/small-picture.png"  # for models whose time grows with each pixel


def _encoders() -> tuple[str, ...]:
    """The classes of image encoders, with any head; video models, which are in the same tables, are left out."""
    types = tables()["IMAGE"].keys() - tables()["VIDEO_CLASSIFICATION"].keys()
    heads = ("IMAGE", "IMAGE_CLASSIFICATION", "MASKED_IMAGE_MODELING")
    return tuple(name for head in heads for key, names in tables()[head].items() if key in types for name in names)


TASKS = (
    Task(
        name="image-classification",
        title="Classify an image with the model's labels",
        family="image",
        auto=True,
        mappings=("IMAGE_CLASSIFICATION",),
        components=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"top_k": 5}, files={"image": IMAGE}),
    ),
    Task(
        name="image-feature-extraction",
        title="Compute the vectors (embeddings) of an image",
        family="image",
        auto=True,
        architectures=_encoders(),
        any_head=True,
        components=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"pooling": "none"}, files={"image": IMAGE}),
    ),
    Task(
        name="image-segmentation",
        title="Divide an image into labelled segments",
        family="image",
        auto=True,
        mappings=("IMAGE_SEGMENTATION", "SEMANTIC_SEGMENTATION", "INSTANCE_SEGMENTATION", "UNIVERSAL_SEGMENTATION"),
        components=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"threshold": 0.5}, files={"image": IMAGE}),
    ),
    Task(
        name="depth-estimation",
        title="Estimate how far away each pixel of an image is",
        family="image",
        auto=True,
        mappings=("DEPTH_ESTIMATION",),
        components=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(files={"image": IMAGE}),
    ),
    Task(
        name="image-to-image",
        title="Transform an image, such as enlarging and sharpening it",
        family="image",
        auto=True,
        mappings=("IMAGE_TO_IMAGE",),
        components=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(files={"image": SMALL_IMAGE}),
    ),
    Task(
        name="mask-generation",
        title="Mask the objects in an image: all of them, or those that points or boxes mark",
        family="image",
        auto=True,
        # SAM 2, SAM 3 and EdgeTAM are in the table too, but their processors need torchvision.
        mappings=("MASK_GENERATION",),
        components=(IMAGE_PROCESSOR,),
        golden=GoldenRequest(fields={"points_per_side": 4}, files={"image": IMAGE}),
    ),
)

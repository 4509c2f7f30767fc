"""mask-generation: a picture in, masks of the objects in it out: of all of them, or of those at given points and boxes.

transformers' pipeline prompts the model with a grid of points, and removes duplicate masks by a function of torchvision. There
is no torchvision here: the prompting is the pipeline's, and the removal of duplicates our own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Fraction, Media, Picture
from ..media.pictures import PNG, encode_mask, label_map, read_picture, refuse_size_errors, shrink
from ..models.loading import load_pipeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

# Masks are made in the size of the picture, three for each point. The model itself reads 1024x1024 pixels.
WORK_PIXELS = 1024 * 1024
POINTS_PER_BATCH = 16

Coordinate = Annotated[float, Field(ge=0, le=1_000_000)]
Point = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Box = Annotated[list[Coordinate], Field(min_length=4, max_length=4)]


class Request(runner.Request):
    """The picture, and where to look for masks."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    points: list[Point] = Field(
        [],
        max_length=64,
        description="[x, y] in pixels of the upright picture; each asks for the mask of the object there",
    )
    boxes: list[Box] = Field(
        [], max_length=64, description="[left, top, right, bottom] in pixels; each asks for the mask of the object in it"
    )
    points_per_side: int = Field(
        32, ge=1, le=32, description="without points and boxes: the model is prompted with so many points in each direction"
    )
    score_threshold: Fraction = Field(0.88, description="without points and boxes: the lowest score")
    stability_threshold: Fraction = Field(
        0.95, description="without points and boxes: how stable a mask must be against a change of the model's cut-off"
    )
    overlap_threshold: Fraction = Field(
        0.7, description="without points and boxes: of two masks whose boxes overlap more, the better one is kept"
    )
    max_masks: int = Field(
        100, ge=1, le=200, description="without points and boxes: how many of the best masks to return at most"
    )


class Mask(BaseModel):
    """The mask of one object."""

    score: float = Field(description="the overlap with the true mask that the model expects, about 0 to 1")
    box: list[int] = Field(
        description="left, top, right, bottom: the outermost pixels that are in the mask; zeros if it is empty"
    )
    mask: Media = Field(description="PNG as large as the picture: white in the object, else black")


class Answer(runner.Answer):
    """The masks of the objects in a picture."""

    file_type = PNG

    width: int = Field(description="of the upright picture, in pixels")
    height: int
    masks: list[Mask] = Field(
        description="best first, or for the points in their order and then the boxes; "
        "as image/png they are one picture whose grey value is the mask's place, from 1, smaller masks on top"
    )

    def file(self) -> bytes:
        """All masks in one picture, as PNG."""
        return label_map([each.mask for each in self.masks], (self.width, self.height))


class Runner(runner.Runner[Request, Answer]):
    """A model of the SAM family."""

    def __init__(self, folder: Path) -> None:
        from transformers import SamProcessor

        self.pipeline = load_pipeline("mask-generation", folder)
        self.processor = SamProcessor(self.pipeline.image_processor)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for points and boxes that are not in the picture."""
        import torch

        image = read_picture(request.image)
        for name, places in (("points", request.points), ("boxes", request.boxes)):
            for place in places:
                if any(x >= image.width for x in place[::2]) or any(y >= image.height for y in place[1::2]):
                    raise runner.BadInput(
                        f"{name}: {place} is not in the picture, which has {image.width}x{image.height} pixels"
                    )
        for left, top, right, bottom in request.boxes:
            if left >= right or top >= bottom:
                raise runner.BadInput("boxes: a box is [left, top, right, bottom], with left < right and top < bottom")
        with torch.inference_mode(), refuse_size_errors(image):
            prompted = request.points or request.boxes
            found = self._masks_at(image, request) if prompted else self._all_masks(image, request)
        masks = [
            Mask(score=score, box=bounding_box(inside, image.size), mask=encode_mask(inside, image.size))
            for score, inside in found
        ]
        return Answer(width=image.width, height=image.height, masks=masks)

    def _all_masks(self, image: Image, request: Request) -> list[tuple[float, NDArray[np.bool_]]]:
        """The scores and masks of all objects, best first."""
        import torch

        pipeline, scores, boxes = self.pipeline, [], []
        masks: list[RunLengths] = []
        for inputs in pipeline.preprocess(
            shrink(image, WORK_PIXELS), points_per_batch=POINTS_PER_BATCH, points_per_crop=request.points_per_side
        ):
            outputs = pipeline.forward(
                inputs, pred_iou_thresh=request.score_threshold, stability_score_thresh=request.stability_threshold
            )
            scores.append(outputs["iou_scores"].float())
            boxes.append(outputs["boxes"].float())
            masks.extend(outputs["masks"])
        all_scores = torch.cat(scores)
        best = non_maximum_suppression(torch.cat(boxes), all_scores, request.overlap_threshold)[: request.max_masks]
        return [(float(all_scores[index]), decode_run_lengths(masks[index])) for index in best]

    def _masks_at(self, image: Image, request: Request) -> list[tuple[float, NDArray[np.bool_]]]:
        """For each point and then for each box, the score and the mask with the highest score."""
        model, smaller = self.pipeline.model, shrink(image, WORK_PIXELS)
        across, down = smaller.width / image.width, smaller.height / image.height
        inputs = self.processor(
            smaller,
            input_points=[[[[x * across, y * down]] for x, y in request.points]] if request.points else None,
            input_boxes=[[[x * across, y * down, right * across, bottom * down] for x, y, right, bottom in request.boxes]]
            if request.boxes
            else None,
            return_tensors="pt",
        )
        sizes = {name: inputs[name] for name in ("original_sizes", "reshaped_input_sizes")}
        embeddings = model.get_image_embeddings(inputs["pixel_values"].to(model.dtype))
        image_inputs = {"image_embeddings": embeddings}
        if isinstance(embeddings, tuple):  # SAM-HQ
            image_inputs = dict(zip(("image_embeddings", "intermediate_embeddings"), embeddings, strict=True))
        found = []
        for name in ("input_points", "input_boxes"):
            for prompts in inputs[name].to(model.dtype).split(POINTS_PER_BATCH, dim=1) if name in inputs else ():
                outputs = model(**image_inputs, **{name: prompts})
                [masks] = self.processor.image_processor.post_process_masks(outputs.pred_masks.float(), **sizes)
                for inside, scores in zip(masks, outputs.iou_scores[0].float(), strict=True):
                    best = int(scores.argmax())
                    found.append((float(scores[best]), inside[best].numpy()))
        return found


def non_maximum_suppression(boxes: Tensor, scores: Tensor, overlap: float) -> list[int]:
    """Choose among overlapping boxes, as ``torchvision.ops.nms`` does.

    Args:
        boxes: Of shape (boxes, 4): left, top, right, bottom.
        scores: Of shape (boxes,).
        overlap: The intersection over union above which the box with the lower score is dropped.

    Returns:
        The indices of the boxes that are kept, best first.
    """
    import torch

    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    rest = scores.argsort(descending=True, stable=True)
    kept = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        corner = torch.maximum(boxes[best, :2], boxes[rest, :2])
        shared = (torch.minimum(boxes[best, 2:], boxes[rest, 2:]) - corner).clamp(min=0).prod(dim=1)
        rest = rest[~(shared / (areas[best] + areas[rest] - shared) > overlap)]
    return kept


class RunLengths(TypedDict):
    """A mask as transformers' pipeline returns it: lengths of runs along its columns, outside and inside by turns."""

    size: tuple[int, int]  # height, width
    counts: list[int]


def decode_run_lengths(runs: RunLengths) -> NDArray[np.bool_]:
    """The mask, of shape (height, width): true inside."""
    import numpy as np

    height, width = runs["size"]
    inside = np.repeat(np.arange(len(runs["counts"])) % 2 == 1, runs["counts"])
    return np.ascontiguousarray(inside.reshape(width, height).T)


def bounding_box(inside: NDArray[np.bool_], size: tuple[int, int]) -> list[int]:
    """Left, top, right and bottom of a mask after it is scaled to ``size`` (width, height); zeros if it is empty."""
    import numpy as np

    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    height, width = inside.shape
    across, down = size[0] / width, size[1] / height
    return [
        int(columns[0] * across),
        int(rows[0] * down),
        int((columns[-1] + 1) * across) - 1,
        int((rows[-1] + 1) * down) - 1,
    ]

"""mask-generation: a picture in, masks of the things in it out: of all that are found, or of those pointed at.

transformers' pipeline asks the model about a grid of points, and sorts out the masks that come twice by a function of
torchvision. There is no torchvision here: the pipeline asks, and the sorting out is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Fraction, Media, Picture
from ..media.pictures import PNG, label_map, mask, read_picture, refuse_size_errors, shrink
from ..models.loading import load_pipeline

# Masks are made in the picture's size, three for each point. The model itself looks at 1024x1024 pixels.
WORK_PIXELS = 1024 * 1024
POINTS_AT_ONCE = 16

Coordinate = Annotated[float, Field(ge=0, le=1_000_000)]
Point = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Box = Annotated[list[Coordinate], Field(min_length=4, max_length=4)]


class Request(runner.Request):
    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    points: list[Point] = Field(
        [],
        max_length=64,
        description="[x, y] in pixels of the upright picture; each asks for the mask of the thing that is there",
    )
    boxes: list[Box] = Field(
        [], max_length=64, description="[left, top, right, bottom] in pixels; each asks for the mask of the thing in it"
    )
    points_per_side: int = Field(
        32, ge=1, le=32, description="with neither points nor boxes: the model is asked about so many points in each direction"
    )
    score_threshold: Fraction = Field(0.88, description="with neither: the lowest score, the overlap that the model expects")
    stability_threshold: Fraction = Field(
        0.95, description="with neither: how little a mask must change where the model is a bit stricter or laxer"
    )
    overlap_threshold: Fraction = Field(
        0.7, description="with neither: of two masks whose boxes overlap more, the better one stays"
    )
    max_masks: int = Field(100, ge=1, le=200, description="with neither: only so many of the best masks are returned")


class Mask(BaseModel):
    score: float = Field(description="the overlap with the true mask that the model expects, about 0 to 1")
    box: list[int] = Field(
        description="left, top, right, bottom: the outermost pixels that are in the mask; zeros if it is empty"
    )
    mask: Media = Field(description="PNG as large as the picture: white where the thing is, else black")


class Answer(runner.Answer):
    file_type = PNG

    width: int = Field(description="the picture's, in pixels, turned upright")
    height: int
    masks: list[Mask] = Field(
        description="best first, or for the points in their order and then the boxes; "
        "as image/png they are one picture whose grey value is the mask's place, from 1, smaller masks on top"
    )

    def file(self) -> bytes:
        return label_map([each.mask for each in self.masks], (self.width, self.height))


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        from transformers import SamProcessor

        self._pipeline = load_pipeline("mask-generation", folder)
        self._processor = SamProcessor(self._pipeline.image_processor)

    def predict(self, request: Request) -> Answer:
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
            pointed = request.points or request.boxes
            found = self._pointed_at(image, request) if pointed else self._all(image, request)
        masks = [
            Mask(score=score, box=bounding_box(inside, image.size), mask=mask(inside, image.size)) for score, inside in found
        ]
        return Answer(width=image.width, height=image.height, masks=masks)

    def _all(self, image: Any, request: Request) -> list[tuple[float, Any]]:
        """Scores and masks, best first."""
        import torch

        pipeline, scores, boxes, runs = self._pipeline, [], [], []
        for inputs in pipeline.preprocess(
            shrink(image, WORK_PIXELS), points_per_batch=POINTS_AT_ONCE, points_per_crop=request.points_per_side
        ):
            outputs = pipeline.forward(
                inputs, pred_iou_thresh=request.score_threshold, stability_score_thresh=request.stability_threshold
            )
            scores.append(outputs["iou_scores"].float())
            boxes.append(outputs["boxes"].float())
            runs.extend(outputs["masks"])
        every = torch.cat(scores)
        best = non_maximum_suppression(torch.cat(boxes), every, request.overlap_threshold)[: request.max_masks]
        return [(float(every[index]), decode_run_lengths(runs[index])) for index in best]

    def _pointed_at(self, image: Any, request: Request) -> list[tuple[float, Any]]:
        """For each point and then for each box the mask that the model expects the most of, with its score."""
        model, seen = self._pipeline.model, shrink(image, WORK_PIXELS)
        across, down = seen.width / image.width, seen.height / image.height
        inputs = self._processor(
            seen,
            input_points=[[[[x * across, y * down]] for x, y in request.points]] if request.points else None,
            input_boxes=[[[x * across, y * down, right * across, bottom * down] for x, y, right, bottom in request.boxes]]
            if request.boxes
            else None,
            return_tensors="pt",
        )
        sizes = {name: inputs[name] for name in ("original_sizes", "reshaped_input_sizes")}
        embeddings = model.get_image_embeddings(inputs["pixel_values"].to(model.dtype))
        seen_as = {"image_embeddings": embeddings}
        if isinstance(embeddings, tuple):  # SAM-HQ
            seen_as = dict(zip(("image_embeddings", "intermediate_embeddings"), embeddings, strict=True))
        found = []
        for name in ("input_points", "input_boxes"):
            for prompts in inputs[name].to(model.dtype).split(POINTS_AT_ONCE, dim=1) if name in inputs else ():
                outputs = model(**seen_as, **{name: prompts})
                [masks] = self._processor.image_processor.post_process_masks(outputs.pred_masks.float(), **sizes)
                for inside, scores in zip(masks, outputs.iou_scores[0].float(), strict=True):
                    best = int(scores.argmax())
                    found.append((float(scores[best]), inside[best].numpy()))
        return found


def non_maximum_suppression(boxes: Any, scores: Any, overlap: float) -> list[int]:
    """Which of the boxes stay, best first: those that overlap no better one by more (intersection over union).

    Non-maximum suppression as ``torchvision.ops.nms`` does it. ``boxes`` has the shape (n, 4): left, top, right, bottom.
    """
    import torch

    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        corner = torch.maximum(boxes[best, :2], boxes[left, :2])
        shared = (torch.minimum(boxes[best, 2:], boxes[left, 2:]) - corner).clamp(min=0).prod(dim=1)
        left = left[~(shared / (areas[best] + areas[left] - shared) > overlap)]
    return kept


def decode_run_lengths(runs: dict[str, Any]) -> Any:
    """The mask, of shape (height, width), of runs along its columns, not in the mask and in it by turns."""
    import numpy as np

    height, width = runs["size"]
    inside = np.repeat(np.arange(len(runs["counts"])) % 2 == 1, runs["counts"])
    return np.ascontiguousarray(inside.reshape(width, height).T)


def bounding_box(inside: Any, size: tuple[int, int]) -> Sequence[int]:
    """The box around a mask that is to be shown in this width and height."""
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

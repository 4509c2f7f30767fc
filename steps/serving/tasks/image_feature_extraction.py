"""image-feature-extraction: a picture in, its vectors out.

Not by transformers' pipeline, which does not say whether the weights of a pooler are the author's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from .. import runner
from ..fields import Picture
from ..media.pictures import max_input_pixels, read_picture, refuse_size_errors, shrink
from ..models.loading import load_model_and_missing


class Request(runner.Request):
    """The picture, and which vectors to return."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    pooling: Literal["none", "mean", "first", "pooler"] = Field(
        "none",
        description="one vector for each part of the picture (none), their mean, the first (a vision transformer's class "
        "token), or what the model's own pooler makes of them",
    )


class Answer(runner.Answer):
    """The vectors of a picture."""

    features: list[list[float]] = Field(
        description="one vector for each part of the picture, row by row, a transformer's special tokens first; "
        "only one unless pooling is none"
    )


class Runner(runner.Runner[Request, Answer]):
    """A model of pictures without a head: a transformer or a convolutional one."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor

        self.processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self.model, missing = load_model_and_missing(folder, "AutoModel")
        # A pooler whose weights were not saved, as with most classifiers, exists all the same, with random weights.
        self._pooler = not any("pooler" in name for name in missing)
        self.max_pixels = max_input_pixels(self.processor)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a pooler that the model does not have."""
        import torch

        image = shrink(read_picture(request.image), self.max_pixels)
        with torch.inference_mode(), refuse_size_errors(image):
            outputs = self.model(**self.processor(image, return_tensors="pt").to(self.model.dtype))
        vectors = outputs[0][0].float()
        if vectors.dim() == 3:  # convolutional: channels, rows, columns
            vectors = vectors.flatten(1).T
        match request.pooling:
            case "mean":
                vectors = vectors.mean(dim=0, keepdim=True)
            case "first":
                vectors = vectors[:1]
            case "pooler":
                pooled = getattr(outputs, "pooler_output", None) if self._pooler else None
                if pooled is None:
                    raise runner.BadInput("pooling: this model has no pooler; ask for none, mean or first")
                vectors = pooled.float().reshape(1, -1)
        return Answer(features=vectors.tolist())

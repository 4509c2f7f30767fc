"""image-feature-extraction: a picture in, its vectors out.

Not by transformers' pipeline, which does not tell whether a pooler's weights are the author's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from .. import runner
from ..fields import Picture
from ..media.pictures import max_input_pixels, read_picture, refuse_size_errors, shrink
from ..models.loading import load_model


class Request(runner.Request):
    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    pooling: Literal["none", "mean", "first", "pooler"] = Field(
        "none",
        description="one vector a place of the picture (none), their mean, the first (a vision transformer's class token), "
        "or what the model's own pooler makes of them",
    )


class Answer(runner.Answer):
    features: list[list[float]] = Field(
        description="one vector a place, row by row, a transformer's special tokens first; just one unless pooling is none"
    )


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor

        self._processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self._model, loading = load_model(folder, "AutoModel", output_loading_info=True)
        # A pooler that was not saved, as with most classifiers, is there all the same: with weights drawn at random.
        self._pooler = not any("pooler" in name for name in loading["missing_keys"])
        self._pixels = max_input_pixels(self._processor)

    def predict(self, request: Request) -> Answer:
        import torch

        image = shrink(read_picture(request.image), self._pixels)
        with torch.inference_mode(), refuse_size_errors(image):
            outputs = self._model(**self._processor(image, return_tensors="pt").to(self._model.dtype))
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

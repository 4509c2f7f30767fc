"""video-classification: a video in, labels with scores out.

transformers' own pipeline is not used: it opens paths and addresses only, does not turn videos upright, and prepares the
frames for some models with torchvision, of which there is no build for every machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from .. import runner
from ..fields import Label, TopK, Video
from ..media.videos import read_frames
from ..models.library import Processor
from ..models.loading import load_model


class Request(runner.Request):
    """The video to classify."""

    video: Video = Field(description="the video: MP4, WebM, MKV, AVI, MPEG, FLV, WMV or OGV")
    top_k: TopK = Field(5, description="how many classes to return")
    frame_sampling_rate: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="read every n-th frame from the start on; null: frames spread evenly over the whole video"
    )


class Answer(runner.Answer):
    """The classes of a video."""

    labels: list[Label] = Field(description="the best classes, best first; names are those of the model's id2label")


class Runner(runner.Runner[Request, Answer]):
    """A model that classifies videos, with what prepares their frames."""

    def __init__(self, folder: Path) -> None:
        self.model = load_model(folder, "AutoModelForVideoClassification")
        config = self.model.config
        self._frames: int = config.frames_per_clip if config.model_type == "vjepa2" else config.num_frames
        self.processor = load_frame_processor(folder, config.model_type)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a video that has too few frames."""
        import torch

        model = self.model
        # One after the other: a frame of a large video takes 28 MB until it is scaled to the model's size.
        frames = [
            self.processor([frame], return_tensors="pt")["pixel_values"]
            for frame in read_frames(request.video, self._frames, request.frame_sampling_rate)
        ]
        with torch.inference_mode():
            outputs = model(**{model.main_input_name: torch.cat(frames, dim=1).to(model.dtype)})
        logits = outputs.logits.float().reshape(-1)  # VideoPrism's have another dimension
        match model.config.problem_type:
            case "regression":
                scores = logits
            case "multi_label_classification":
                scores = logits.sigmoid()
            case _:
                scores = logits.softmax(-1)
        best = scores.topk(min(request.top_k, len(scores)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return Answer(labels=[Label(label=model.config.id2label[index], score=score) for index, score in pairs])


def load_frame_processor(folder: Path, model_type: str) -> Processor:
    """The image processor that prepares frames of any size, on Pillow, with the settings of the model's own processor.

    For three of the five architectures transformers has a class on torchvision only, though all do the same: resize, crop,
    rescale, normalize. VideoMAE's class does it for all, except for ViViT, whose values are from -1 to 1. Raises ``ValueError``
    if a setting is missing.
    """
    from transformers import VideoMAEImageProcessorPil, VivitImageProcessor

    files = [folder / name for name in ("processor_config.json", "video_preprocessor_config.json", "preprocessor_config.json")]
    found = [json.loads(file.read_text()) for file in files if file.exists()]
    settings = next((each["video_processor"] for each in found if "video_processor" in each), found[-1])
    if missing := {"size", "image_mean", "image_std"} - settings.keys():
        raise ValueError(f"the processor's file does not say {', '.join(sorted(missing))}")
    switches = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
    values = ("size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std")
    chosen = {
        **{name: bool(settings[name]) for name in switches if name in settings},
        **{name: settings[name] for name in values if settings.get(name) is not None},
    }
    processor: Processor = (VivitImageProcessor if model_type == "vivit" else VideoMAEImageProcessorPil)(**chosen)
    return processor

"""The case of the task that takes a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.tasks.table import TASKS
from tests.steps.tasks.cases import Bad, Case
from tests.steps.tasks.text_cases import pipe
from tests.tiny_models import CARD, labelled

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def save_watcher(folder: Path) -> None:
    """Save a VideoMAE for eight frames of 16 by 16 pixels."""
    import torch
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessorPil

    torch.manual_seed(7)
    config = VideoMAEConfig(image_size=16, patch_size=8, num_frames=8, **SIZES, **labelled())
    VideoMAEForVideoClassification(config).save_pretrained(folder)
    VideoMAEImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    (folder / "README.md").write_text(CARD)


def classify(folder: Path) -> dict[str, Any]:
    request = TASKS["video-classification"].golden
    rate = request.fields["frame_sampling_rate"]
    path = str(GOLDEN_FILES / request.files["video"])
    return {"labels": pipe("video-classification", folder)(path, top_k=5, frame_sampling_rate=rate)}


CASES = (
    Case(
        "video-classification",
        save_watcher,
        classify,
        (
            Bad("video", {"video": ...}),
            Bad("video", {"video": b"not a video"}),
            Bad("video", {"frame_sampling_rate": 4}),  # the golden video has 24 frames
            Bad("top_k", {"top_k": 0}),
            Bad("frame_sampling_rate", {"frame_sampling_rate": 0}),
        ),
    ),
)

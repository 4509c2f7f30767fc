"""Tasks that take a video."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.base import PROCESSOR_FILES, Component, Task

VIDEO = "golden/video.mp4"

TASKS = (
    Task(
        name="video-classification",
        title="Classify a video with the model's labels",
        family="video",
        auto=True,
        mappings=("VIDEO_CLASSIFICATION",),
        components=(Component((), PROCESSOR_FILES | {"video_preprocessor_config.json"}),),
        golden=GoldenRequest(fields={"top_k": 5, "frame_sampling_rate": 2}, files={"video": VIDEO}),
    ),
)

"""Tasks that watch a video."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.base import PROCESSOR_FILES, Part, Task

FILM = "golden/video.mp4"

TASKS = (
    Task(
        name="video-classification",
        title="Which of the model's classes a film shows",
        family="video",
        service="video_classification",
        mappings=("VIDEO_CLASSIFICATION",),
        needs=(Part((), PROCESSOR_FILES | {"video_preprocessor_config.json"}),),
        golden=GoldenRequest(fields={"top_k": 5, "frame_sampling_rate": 2}, files={"video": FILM}),
    ),
)

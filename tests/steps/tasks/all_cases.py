"""Every task's case, by the task's name; a test compares them with the table."""

from __future__ import annotations

from tests.steps.tasks import (
    audio_cases,
    detection_cases,
    generation_cases,
    image_cases,
    multimodal_cases,
    table_cases,
    text_cases,
    video_cases,
)

MODULES = (
    text_cases,
    generation_cases,
    table_cases,
    image_cases,
    detection_cases,
    audio_cases,
    video_cases,
    multimodal_cases,
)
CASES = {case.task: case for module in MODULES for case in module.CASES}

"""Tasks that take a picture."""

from __future__ import annotations

from steps.documents import Golden
from steps.tasks.task import PROCESSOR_FILES, Task

TASKS = (
    Task(
        name="image-classification",
        title="Which of the model's classes a picture shows",
        family="image",
        service="image_classification",
        aliases=(),
        heads=("ForImageClassification", "ForImageClassificationWithTeacher"),
        needs=(PROCESSOR_FILES,),
        golden=Golden(fields={"top_k": 5}, files={"image": "golden/picture.png"}),
        curl="-F image=@{golden}/picture.png",
    ),
)

"""The pattern of a model's name.

A model's name becomes part of file names, image names, Bento tags, labels and names of Kubernetes objects, so it must be
valid in all of them. Used by the steps' inputs and by ``crd.types``.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import StringConstraints

from steps.core.wording import worded

# A DNS label of RFC 1123, cut to 40 characters so that a task's name and a digest still fit behind it.
NAME_RULE = "write at most 40 lower-case letters, digits and dashes, with a letter or digit at both ends"
ModelName = Annotated[str, StringConstraints(pattern=worded(r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", NAME_RULE))]

# Names of runs: of a Model with a digest, or of a Workflow.
RunName = Annotated[
    str,
    StringConstraints(
        pattern=worded(
            r"^[A-Za-z0-9_][A-Za-z0-9._+@-]*$", "write letters, digits and . _ + @ -, with none of . + @ - in front"
        ),
        max_length=200,
    ),
]

MAX_LABEL = 63  # characters of a DNS label, and of the name in a Bento's tag


def service_name(model: str, task: str) -> str:
    """The name of a model's service where at most ``MAX_LABEL`` characters are allowed: the model's and the task's.

    What is too long keeps its beginning, and the end becomes a digest of the whole.
    """
    name = f"{model}-{task}"
    if len(name) <= MAX_LABEL:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: MAX_LABEL - len(digest) - 1].rstrip('-')}-{digest}"

"""The pattern of a model's name.

A model's name becomes part of file names, image names, Bento tags, labels and names of Kubernetes objects, so it must be
valid in all of them. Used by the steps' inputs and by ``crd.types``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

# A DNS label of RFC 1123, cut to 40 characters so that a task's name and a digest still fit behind it.
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$")]

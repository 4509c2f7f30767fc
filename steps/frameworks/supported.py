"""The table of frameworks: the one place where a framework is added.

``Framework`` is the type of the field ``framework`` in a Model and of the load step's flag, so the CRD, the help and the
parameters of the WorkflowTemplate are made from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from steps.frameworks.base import ModelLoader
from steps.frameworks.transformers import TransformersLoader


class Framework(StrEnum):
    """The table. A member is the loader's name, and ``loader`` is its class. The first member is the default of a Model."""

    _value_: str
    loader: type[ModelLoader]

    def __new__(cls, loader: type[ModelLoader]) -> Self:
        """Make a member of a loader's class, with the loader's name as its value."""
        member = str.__new__(cls, loader.name)
        member._value_ = loader.name
        member.loader = loader
        return member

    TRANSFORMERS = TransformersLoader


DEFAULT_FRAMEWORK = next(iter(Framework))


def open_loader(framework: Framework) -> ModelLoader:
    """Return a new loader of this framework; the library itself is imported when the loader loads."""
    return framework.loader()

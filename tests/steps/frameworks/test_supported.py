"""The table of frameworks, from which the CRD and the flags are made."""

from __future__ import annotations

import subprocess
import sys

from crd.types import ModelSpec
from steps.frameworks.supported import DEFAULT_FRAMEWORK, Framework, open_loader


def test_each_framework_opens_its_loader() -> None:
    for framework in Framework:
        loader = open_loader(framework)
        assert loader.name == framework
        assert type(loader) is framework.loader


def test_the_first_framework_is_the_default() -> None:
    assert next(iter(Framework)) == DEFAULT_FRAMEWORK == ModelSpec.model_fields["framework"].default


def test_the_crd_lists_the_table() -> None:
    assert ModelSpec.model_json_schema()["$defs"]["Framework"]["enum"] == [framework.value for framework in Framework]


def test_opening_a_loader_imports_no_library() -> None:
    code = (
        "import sys; from steps.frameworks.supported import DEFAULT_FRAMEWORK, open_loader; open_loader(DEFAULT_FRAMEWORK)\n"
        "print([name for name in ('torch', 'transformers', 'bentoml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""render: whatever a model or its source says of itself, the code, the Dockerfile and the recipes stay the same."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from steps.core.documents import ModelFacts
from steps.core.lock import Lock, LockedFile, set_digest
from steps.package.pins import FAMILIES
from steps.render import RenderInputs, render
from steps.tasks.base import Task
from steps.tasks.table import TASKS

pytestmark = pytest.mark.slow  # they start processes or servers, many times

HOSTILE = (
    "'; import os; os.system('id') #",
    '"""\nraise SystemExit\n"""',
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "${IFS}$(id)`id`",
    "x\nRUN id\n",
    "a: &a [*a]\n- b\n!!python/object",
    "\x00\x1b]0;title\x07\u202e\u2028",
    "</script><script>alert(1)</script>",
)
TEXTS = st.text(max_size=60) | st.sampled_from(HOSTILE)
FILE = LockedFile(path="model.safetensors", size=7, sha256="a" * 64)
# Of Python's own modules, those that reach neither files by name, nor processes, nor the network.
SAFE = {"__future__", "abc", "asyncio", "base64", "collections", "concurrent", "contextlib", "dataclasses", "functools", "io"}
SAFE |= {"difflib", "itertools", "json", "logging", "math", "pathlib", "queue", "re", "sys", "threading", "types"}
SAFE |= {"typing", "wave"}
SAFE |= {"numpy", "pydantic", "pydantic_core", "starlette"}  # come with bentoml
IMPORT_NAMES = {"Pillow": "PIL"}
task_of_each = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)


def rendered(task: Task, *, source: str = "x", revision: str = "", licence: str = "", other: str = "x") -> dict[str, str]:
    lock = Lock(source_kind="git_lfs", source=source, revision=revision, files=(FILE,), set_digest=set_digest([FILE]))
    facts = ModelFacts(
        framework="transformers",
        architecture=other,
        model_type=other,
        parameters=1,
        dtypes={other: 1},
        labels=0,
        licence=licence,
        versions={},
        load_seconds=0.0,
        peak_rss_bytes=0,
        expected={},
    )
    return render("tiny", task, lock, facts).files


def shape(value: Any) -> Any:
    """The value without its texts: what is a mapping, what a list, which keys."""
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            return [shape(item) for item in value]
        case _:
            return type(value)


@settings(deadline=None)
@given(task=st.sampled_from(list(TASKS.values())), source=TEXTS, revision=TEXTS, licence=TEXTS, other=TEXTS)
def test_hostile_texts_stay_data(task: Task, source: str, revision: str, licence: str, other: str) -> None:
    benign = rendered(task)
    files = rendered(task, source=source, revision=revision, licence=licence, other=other)
    assert files.keys() == benign.keys()
    for path, text in files.items():
        if path not in ("src/lock.json", "src/slipway.json", "bento.yaml", "README.md"):
            assert text == benign[path]
    # These two differ in the Bento's version alone, which is a digest.
    bento, known = yaml.safe_load(files["bento.yaml"]), yaml.safe_load(benign["bento.yaml"])
    assert shape(bento) == shape(known)
    version = bento.pop("version")
    assert files["README.md"] == benign["README.md"].replace(known.pop("version"), version)
    assert bento == known
    about = json.loads(files["src/slipway.json"])
    assert (about["source"], about["revision"], about["licence"]) == (source, revision, licence)
    assert about["architecture"] == other
    assert json.loads(files["src/lock.json"])["source"] == source


# The start of the server, and what shuts other files out, ask the system for more than a model's code may.
SYSTEM = {"argparse", "atexit", "ctypes", "errno", "os", "pathlib", "shutil", "signal", "site", "socket", "stat", "sys"}
SYSTEM |= {"sysconfig", "tempfile", "threading", "uvicorn", "_bentoml_impl"}


@task_of_each
def test_the_service_imports_only_allowed_modules(task: Task) -> None:
    files = rendered(task)
    allowed = {IMPORT_NAMES.get(name, name) for name in FAMILIES[task.family]} | SAFE | {"serving"}
    service = ast.parse(files["src/service.py"])
    for path in (path for path in files if path.endswith(".py")):
        for node in ast.walk(ast.parse(files[path])):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [str(node.module)]
            of_system = path.startswith("src/serving/walls/") or path == "src/serving/server.py"
            here = allowed | SYSTEM if of_system else allowed
            assert {module.split(".")[0] for module in modules} <= here, path
            assert not (isinstance(node, ast.Name) and node.id in ("eval", "exec", "compile", "__import__")), path
    assert ast.get_docstring(service) is not None
    assert [node.name for node in service.body if isinstance(node, ast.ClassDef)] == ["Service"]


@task_of_each
def test_the_generated_code_is_formatted(task: Task) -> None:
    lines = rendered(task)["src/service.py"].splitlines()
    assert max(map(len, lines)) <= 128
    assert lines[-1]
    assert not any(line != line.rstrip() for line in lines)
    assert "\n\n\n\n" not in "\n".join(lines)


@given(st.text() | st.from_regex(r"[-A-Za-z0-9._/\n]{1,50}", fullmatch=True))
def test_a_name_is_a_dns_label_or_refused(name: str) -> None:
    safe = set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and 0 < len(name) <= 40
    safe = safe and name[0] != "-" and name[-1] != "-"
    values = {"name": name, "service": "ner", "lock": "x", "facts": "x"}
    if safe:
        assert RenderInputs.model_validate(values).name == name
    else:
        with pytest.raises(ValidationError):
            RenderInputs.model_validate(values)


@task_of_each
def test_equal_inputs_give_equal_files(task: Task) -> None:
    assert rendered(task) == rendered(task)
    assert rendered(task)["bento.yaml"] != rendered(task, source="y")["bento.yaml"]

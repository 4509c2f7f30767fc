"""What a library raises while a model is loaded: the model's fault, a missing package's, or the machine's."""

from __future__ import annotations

import dataclasses
import errno
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from steps.core.errors import Reason, SlipwayError
from steps.core.progress import Progress
from steps.frameworks.golden_answer import golden_answer
from steps.tasks.table import TASKS

SENTENCEPIECE = """
LlamaTokenizer requires the SentencePiece library but it was not found in your environment. Check out the instructions on the
installation page of its repo: https://github.com/google/sentencepiece#installation and follow the ones
that match your environment. Please note that you may need to restart your runtime after installation.
"""
TASK = dataclasses.replace(TASKS["fill-mask"], name="failing-task")


class Request(BaseModel):
    text: str


def loading(error: Exception, monkeypatch: pytest.MonkeyPatch) -> SlipwayError:
    """What becomes of an error that the module of a task of our own raises while it opens the model."""

    def fail(folder: Path) -> None:
        raise error

    module = ModuleType("steps.serving.tasks.failing_task")
    vars(module).update(Request=Request, Runner=fail)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(SlipwayError) as caught:
        golden_answer(TASK, Path("model"), Progress())
    return caught.value


@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (
            ImportError(SENTENCEPIECE),
            Reason.LOAD_FAILED,
            "LlamaTokenizer requires the SentencePiece library but it was not found",
        ),
        (ImportError("pip install x"), Reason.LOAD_FAILED, "an unnamed one"),
        (MemoryError(), Reason.OUT_OF_MEMORY, "not enough memory"),
        (OSError("model is not a local folder"), Reason.LOAD_FAILED, "OSError: model is not a local folder"),
        (FileNotFoundError(errno.ENOENT, "none", "vocab.txt"), Reason.LOAD_FAILED, "vocab.txt"),
        (OSError(errno.ENOSPC, "No space left on device"), Reason.DISK_FULL, "No space left"),
        (OSError(errno.EMFILE, "Too many open files", "x"), Reason.SYSTEM_REFUSED, "Too many open files"),
        (ValueError("\x1b[31mred"), Reason.LOAD_FAILED, "\ufffd[31mred"),
    ],
)
def test_a_fault_while_loading_has_its_reason(
    error: Exception, reason: Reason, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = loading(error, monkeypatch)
    assert found.reason is reason
    assert said in found.message
    assert "failing-task" in found.message
    assert "install" not in found.message

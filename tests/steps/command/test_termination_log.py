"""The termination log: one line of JSON that Kubernetes and Argo pass on whole, however long the texts are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crd.pod_failures import read_failure
from crd.workflow_nodes import Attempt
from steps.command.termination_log import MAX_TERMINATION_LOG, termination_line
from steps.core.errors import Reason
from steps.core.receipts import Failure


def failure(message: str, hint: str = "Do.") -> Failure:
    return Failure(reason=Reason.SMOKE_MISMATCH, message=message, hint=hint, retryable=False)


def read_back(line: bytes) -> Failure:
    """What the operator reads of it: the kubelet keeps the end of the file, Argo puts its own text in front."""
    kept = line[-4096:].decode()
    return read_failure(Attempt("Failed", f"main: Error (exit code 15): {kept}", "15", "", ""))


def test_a_failure_that_fits_stays_whole() -> None:
    fits = failure('Two answers: "é" and "模型".\n', "Compare them.")
    assert termination_line(fits) == f"{fits.model_dump_json()}\n".encode()
    assert read_back(termination_line(fits)) == fits


@pytest.mark.parametrize("unit", ["x", "é", "模", "\U0001f600", '"', "\\", "\n", 'é"\U0001f600\n'])
@pytest.mark.parametrize("length", [1000, 1300, 2000, 4000, 4096, 100_000])
def test_a_long_message_is_cut_to_fit(unit: str, length: int) -> None:
    long = failure(unit * length)
    line = termination_line(long)
    assert len(line) <= MAX_TERMINATION_LOG
    kept = read_back(line)
    assert (kept.reason, kept.hint, kept.retryable) == (long.reason, long.hint, long.retryable)
    if kept != long:
        assert kept.message.endswith("…")
        assert long.message.startswith(kept.message[:-1])
        assert len(line) > MAX_TERMINATION_LOG * 0.8, "no more is cut than must be"


def test_long_messages_and_hints_share_the_space() -> None:
    kept = read_back(termination_line(failure("模" * 9000, "é" * 9000)))
    assert len(kept.message) == len(kept.hint) > 500


@pytest.mark.slow
@given(message=st.text(max_size=6000), hint=st.text(max_size=6000), repeated=st.integers(1, 50))
def test_any_text_is_still_a_failure(message: str, hint: str, repeated: int) -> None:
    line = termination_line(failure(message * repeated, hint * repeated))
    assert len(line) <= MAX_TERMINATION_LOG
    assert line.count(b"\n") == 1
    assert read_back(line).reason is Reason.SMOKE_MISMATCH

"""The termination log: one line of JSON that Kubernetes and Argo hand on whole, however long the words are."""

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


def said(line: bytes) -> Failure:
    """What the operator reads of it: the kubelet keeps the end of the file, Argo puts its own words in front."""
    kept = line[-4096:].decode()
    return read_failure(Attempt("Failed", f"main: Error (exit code 15): {kept}", "15", "", ""))


def test_words_that_fit_are_told_as_they_are() -> None:
    fits = failure('Two answers: "é" and "模型".\n', "Compare them.")
    assert termination_line(fits) == f"{fits.model_dump_json()}\n".encode()
    assert said(termination_line(fits)) == fits


@pytest.mark.parametrize("unit", ["x", "é", "模", "\U0001f600", '"', "\\", "\n", 'é"\U0001f600\n'])
@pytest.mark.parametrize("length", [1000, 1300, 2000, 4000, 4096, 100_000])
def test_a_long_message_is_cut_to_what_fits_and_keeps_its_hint(unit: str, length: int) -> None:
    long = failure(unit * length)
    line = termination_line(long)
    assert len(line) <= MAX_TERMINATION_LOG
    told = said(line)
    assert (told.reason, told.hint, told.retryable) == (long.reason, long.hint, long.retryable)
    if told != long:
        assert told.message.endswith("…")
        assert long.message.startswith(told.message[:-1])
        assert len(line) > MAX_TERMINATION_LOG * 0.8, "no more is cut than must be"


def test_a_message_and_a_hint_that_are_both_long_share_the_place() -> None:
    told = said(termination_line(failure("模" * 9000, "é" * 9000)))
    assert len(told.message) == len(told.hint) > 500


@given(message=st.text(max_size=6000), hint=st.text(max_size=6000), repeated=st.integers(1, 50))
def test_whatever_is_said_is_still_a_failure(message: str, hint: str, repeated: int) -> None:
    line = termination_line(failure(message * repeated, hint * repeated))
    assert len(line) <= MAX_TERMINATION_LOG
    assert line.count(b"\n") == 1
    assert said(line).reason is Reason.SMOKE_MISMATCH

"""What is recorded about a step, and what is not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import execute, read_records
from steps.fetch import STEP, FetchInputs
from steps.images.builders.supported import BuilderKind
from steps.sources.supported import SourceKind


@pytest.mark.fault("refused")
def test_inputs_with_a_password_are_refused() -> None:
    with pytest.raises(ValidationError) as raised:
        FetchInputs(source_kind=SourceKind.GIT_LFS, source="https://ada:s3cret@example.org/model")
    assert "has a user name or a password" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_password_in_an_address_is_not_recorded(context: Context) -> None:
    address = "https://ada:s3cret@example.org/model"
    inputs = FetchInputs.model_construct(source_kind=SourceKind.GIT_LFS, source=address, builder=BuilderKind.PLAN)
    with pytest.raises(SlipwayError) as raised:
        execute(STEP, inputs, context, run="r")
    assert raised.value.reason is Reason.INVALID_SOURCE
    assert "s3cret" not in raised.value.message
    [record] = read_records(context, "r")
    assert record.failure is not None
    assert record.inputs["source"] == "https://…@example.org/model"
    for key in context.store.list(""):
        assert b"s3cret" not in b"".join(context.store.read(key)), key


def test_a_damaged_record_counts_as_none(context: Context) -> None:
    context.store.write("runs/r/fetch.json", b"{not json")
    assert read_records(context, "r") == []

"""Which store an address opens, and which addresses are refused before anything is contacted."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.store.supported import open_store


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        ("file:///var/models", "file:///var/models"),
        ("/var/models", "file:///var/models"),
        ("gs://bucket", "gs://bucket"),
        ("gs://bucket/", "gs://bucket"),
        ("gs://my.bucket_1/a/b/", "gs://my.bucket_1/a/b"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://my.bucket-1/a/b/", "s3://my.bucket-1/a/b"),
    ],
)
def test_an_address_opens_its_store(address: str, uri: str) -> None:
    assert open_store(address).uri == uri


def test_a_plain_folder_is_taken_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("models").uri == f"file://{tmp_path}/models"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "file://models",
        "https://bucket",
        "s3://",
        "s3:///prefix",
        "s3://Bucket",
        "s3://b_b",
        "s3://bucket/a//b",
        "s3://bucket/a b",
        "gs://",
        "gs:///prefix",
        "gs://Bucket",
        "gs://b",
        "gs://bucket/a//b",
        "gs://bucket/../b",
        "gs://bucket/a b",
    ],
)
def test_an_address_that_names_no_store_is_refused(address: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        open_store(address)
    assert caught.value.reason is Reason.UNSUPPORTED_STORE
    assert repr(address) in caught.value.message

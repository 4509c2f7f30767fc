"""The table of stores: which one an address opens, and that one entry is enough to add one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.store.supported import (
    STORES,
    bucket_addresses,
    find_store,
    is_bucket,
    is_shared,
    open_prefix,
    open_store,
    store_variables,
)


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


def test_a_relative_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
def test_an_address_without_a_store_is_refused(address: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        open_store(address)
    assert caught.value.reason is Reason.UNSUPPORTED_STORE
    assert repr(address) in caught.value.message


@pytest.mark.fault("refused")
@pytest.mark.parametrize("address", ["s3:/bucket/x", "gs:bucket", "S3://bucket", "FILE:///x", "~/store", "~me/x", "a\0b"])
def test_a_mistyped_address_makes_no_folder(address: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        open_store(address)
    assert caught.value.reason is Reason.UNSUPPORTED_STORE
    assert repr(address) in caught.value.message


def test_each_entry_is_found_by_its_example() -> None:
    for store in STORES:
        assert find_store(store.example) is store
        assert is_shared(store.example) is store.shared
        assert store.title


@pytest.mark.parametrize("address", ["", "folder", "file:///folder", "ftp://server/folder", "gs:bucket"])
def test_a_folder_is_not_in_a_bucket(address: str) -> None:
    assert not is_bucket(address)
    with pytest.raises(SlipwayError) as caught:
        open_prefix(address)
    assert caught.value.reason is Reason.UNSUPPORTED_STORE
    assert bucket_addresses() in caught.value.hint


def test_a_store_gets_its_own_variables() -> None:
    assert store_variables("s3://bucket") == ("AWS_*",)
    assert {"GOOGLE_*", "CLOUDSDK_*", "STORAGE_EMULATOR_HOST"} <= {*store_variables("gs://bucket")}
    assert store_variables("/folder") == ()


# A store of a new scheme, entered into the table before anything else of Slipway is imported.
ONE_ENTRY = """
from pathlib import Path
from steps.store import supported
from steps.store.gcs import GcsPrefix, GcsStore

class MemPrefix(GcsPrefix):
    scheme = "mem"

class MemStore(GcsStore):
    scheme, example, environment = "mem", "mem://BUCKET/PREFIX", ("MEM_*",)
    open_prefix = classmethod(lambda cls, uri: MemPrefix.from_uri(uri))
    check = lambda self: "it is there"

supported.STORES += (MemStore,)

import json
from crd.schema import definition
from pipelines.doctor.destinations import destinations
from steps.core.settings import Settings
from steps.fetch import STEP
from steps.command.flags import make_parser

print(supported.open_store("mem://bucket/prefix").uri)
print(supported.open_prefix("mem://bucket/prefix").uri)
for text in (json.dumps(definition()), make_parser(STEP).format_help(), supported.addresses(), supported.bucket_addresses()):
    print("mem://BUCKET/PREFIX" in " ".join(text.split()))
print(next(destinations(Settings(store="mem://bucket"))).detail)
"""


@pytest.mark.slow
def test_one_entry_adds_a_store() -> None:
    done = subprocess.run([sys.executable, "-c", ONE_ENTRY], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["mem://bucket/prefix"] * 2 + ["True"] * 4 + ["it is there"], done.stderr

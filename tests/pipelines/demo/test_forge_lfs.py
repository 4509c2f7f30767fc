"""The forge's LFS side: the batch API's answers, ranges of objects, and the faults that other tests build on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from pipelines.demo.forge import LFS_MEDIA_TYPE, Forge, ForgeHandler, requested_range
from pipelines.demo.repository import publish
from steps.core.digest import sha256_bytes
from tests.servers import forge_faults
from tests.servers.forge_faults import batch_requests, object_requests

pytestmark = pytest.mark.slow  # they start processes or servers, many times

WEIGHTS = bytes(range(256)) * 1024  # four chunks
OID = sha256_bytes(WEIGHTS)
OBJECT = {"oid": OID, "size": len(WEIGHTS)}


@contextlib.contextmanager
def serving(folder: Path, handler: type[ForgeHandler] = ForgeHandler) -> Iterator[Forge]:
    tree, root = folder / "tree", folder / "forge"
    tree.mkdir()
    (tree / "model.safetensors").write_bytes(WEIGHTS)
    publish(root, "digits", tree)
    with Forge(root, handler=handler) as forge:
        yield forge


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with serving(tmp_path) as forge:
        yield forge


@pytest.fixture
def pool() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        yield pool


def batch(pool: urllib3.PoolManager, forge: Forge, document: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {"Accept": LFS_MEDIA_TYPE, "Content-Type": LFS_MEDIA_TYPE, **headers}
    response = pool.request("POST", f"{forge.url('digits')}/info/lfs/objects/batch", body=body, headers=headers)
    if response.data:
        assert response.headers["Content-Type"] == LFS_MEDIA_TYPE
    return response.status, json.loads(response.data or "{}")


def get(pool: urllib3.PoolManager, forge: Forge, oid: str = OID, **headers: str) -> urllib3.BaseHTTPResponse:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return pool.request("GET", f"{forge.url('digits')}/lfs/objects/{oid}", headers=headers)


def test_a_batch_answer_leads_to_the_object(forge: Forge, pool: urllib3.PoolManager) -> None:
    status, answer = batch(pool, forge, {"operation": "download", "transfers": ["basic"], "objects": [OBJECT]})
    assert (status, answer["transfer"]) == (200, "basic")
    [found] = answer["objects"]
    assert (found["oid"], found["size"]) == (OID, len(WEIGHTS))
    response = pool.request("GET", found["actions"]["download"]["href"])
    assert (response.status, response.data) == (200, WEIGHTS)
    assert response.headers["Content-Length"] == str(len(WEIGHTS))
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["ETag"] == f'"{OID}"'
    assert [(exchange.status, exchange.sent) for exchange in object_requests(forge)] == [(200, len(WEIGHTS))]


def test_each_unavailable_object_has_its_error(forge: Forge, pool: urllib3.PoolManager) -> None:
    wanted = [OBJECT, {"oid": "0" * 64, "size": 5}, {"oid": "../../config", "size": 5}, {"oid": OID, "size": 5}]
    status, answer = batch(pool, forge, {"operation": "download", "objects": wanted})
    assert status == 200
    assert [entry["oid"] for entry in answer["objects"]] == [entry["oid"] for entry in wanted]
    assert [entry.get("error", {}).get("code") for entry in answer["objects"]] == [None, 404, 422, 422]
    assert ["actions" in entry for entry in answer["objects"]] == [True, False, False, False]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"\xff",
        [],
        {"objects": [OBJECT]},
        {"operation": "delete", "objects": [OBJECT]},
        {"operation": "download"},
        {"operation": "download", "objects": {}},
        {"operation": "download", "objects": [{"oid": OID}]},
        {"operation": "download", "objects": [{"oid": OID, "size": -1}]},
        {"operation": "download", "objects": [{"oid": OID, "size": "5"}]},
        {"operation": "download", "objects": [{"oid": 5, "size": 5}]},
        {"operation": "download", "objects": [OBJECT], "transfers": ["ssh"]},
        {"operation": "download", "objects": [OBJECT], "hash_algo": "md5"},
    ],
)
def test_a_malformed_batch_is_refused_as_a_whole(forge: Forge, pool: urllib3.PoolManager, document: Any) -> None:
    status, answer = batch(pool, forge, document)
    assert status == 422
    assert list(answer) == ["message"]


def test_uploads_and_other_media_types_are_refused(forge: Forge, pool: urllib3.PoolManager) -> None:
    assert batch(pool, forge, {"operation": "upload", "objects": [OBJECT]})[0] == 403
    assert batch(pool, forge, {"operation": "download", "objects": [OBJECT]}, Accept="text/html")[0] == 406


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=1000-100999", 1000, 100_999),
        ("bytes=262100-", 262_100, 262_143),
        ("bytes=262100-999999", 262_100, 262_143),
        ("bytes=-10", 262_134, 262_143),
        ("bytes=-999999", 0, 262_143),
    ],
)
def test_one_range_is_served(forge: Forge, pool: urllib3.PoolManager, header: str, first: int, last: int) -> None:
    response = get(pool, forge, Range=header)
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(WEIGHTS)}"
    assert response.headers["Content-Length"] == str(last - first + 1)
    assert response.data == WEIGHTS[first : last + 1]
    assert [exchange.range for exchange in object_requests(forge)] == [header]


@pytest.mark.parametrize("header", ["bytes=262144-", "bytes=262144-262145", "bytes=-0"])
def test_a_range_beyond_the_end_is_not_satisfiable(forge: Forge, pool: urllib3.PoolManager, header: str) -> None:
    response = get(pool, forge, Range=header)
    assert (response.status, response.data) == (416, b"")
    assert response.headers["Content-Range"] == f"bytes */{len(WEIGHTS)}"
    assert get(pool, forge).data == WEIGHTS  # the connection is still good


@pytest.mark.parametrize("header", ["bytes=5-4", "bytes=-", "bytes=0-1,5-6", "bytes=a-b", "bytes= 0-1", "pages=0-1", ""])
def test_a_range_that_says_nothing_clear_is_ignored(forge: Forge, pool: urllib3.PoolManager, header: str) -> None:
    response = get(pool, forge, Range=header)
    assert (response.status, response.data) == (200, WEIGHTS)


def test_an_empty_object_has_no_range() -> None:
    assert requested_range("bytes=0-", 0) == range(0)
    assert requested_range(None, 0) is None


def test_if_range_limits_a_range(forge: Forge, pool: urllib3.PoolManager) -> None:
    assert get(pool, forge, Range="bytes=5-", If_Range=f'"{OID}"').status == 206
    for other in ('"other"', f'W/"{OID}"', "Mon, 23 Nov 2026 20:00:00 GMT"):
        response = get(pool, forge, Range="bytes=5-", If_Range=other)
        assert (response.status, response.data) == (200, WEIGHTS)


def test_an_object_of_another_repository_is_not_found(forge: Forge, pool: urllib3.PoolManager, tmp_path: Path) -> None:
    (tmp_path / "tree" / "model.safetensors").write_bytes(b"other")
    publish(forge.root, "other", tmp_path / "tree")
    assert get(pool, forge, sha256_bytes(b"other")).status == 404


def test_a_client_that_leaves_early_does_no_harm(
    forge: Forge, pool: urllib3.PoolManager, caplog: pytest.LogCaptureFixture
) -> None:
    response = pool.request("GET", f"{forge.url('digits')}/lfs/objects/{OID}", preload_content=False)
    assert response.read(10) == WEIGHTS[:10]
    response.close()
    assert get(pool, forge).data == WEIGHTS
    assert caplog.records == []


def test_a_cut_object_can_be_resumed(tmp_path: Path, pool: urllib3.PoolManager) -> None:
    with serving(tmp_path, forge_faults.CutEveryObject.having(after=1000, times=1)) as forge:
        with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
            get(pool, forge)
        rest = get(pool, forge, Range="bytes=1000-", If_Range=f'"{OID}"')
        assert WEIGHTS[:1000] + rest.data == WEIGHTS
        assert [(exchange.range, exchange.status, exchange.sent) for exchange in object_requests(forge)] == [
            (None, 200, 1000),
            ("bytes=1000-", 206, len(WEIGHTS) - 1000),
        ]


def test_a_forge_without_ranges_can_be_cut_too(tmp_path: Path, pool: urllib3.PoolManager) -> None:
    with serving(tmp_path, forge_faults.IgnoresRange.having(after=1000, times=1)) as forge:
        with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
            get(pool, forge)
        response = get(pool, forge, Range="bytes=1000-")
        assert (response.status, response.data) == (200, WEIGHTS)


def test_faults_keep_a_good_status(tmp_path: Path, pool: urllib3.PoolManager) -> None:
    with serving(tmp_path, forge_faults.WrongBytes.having(at=3, times=1)) as forge:
        response = get(pool, forge)
        assert (response.status, response.data) == (200, WEIGHTS[:3] + b"\x02" + WEIGHTS[4:])
        assert get(pool, forge).data == WEIGHTS
    with Forge(forge.root, handler=forge_faults.Truncated.having(after=7)) as forge:
        assert get(pool, forge).data == WEIGHTS[:7]
        assert get(pool, forge).data == WEIGHTS[:7]


def test_a_throttled_forge_answers_the_second_time(tmp_path: Path, pool: urllib3.PoolManager) -> None:
    with serving(tmp_path, forge_faults.Throttled429) as forge:
        wanted = {"operation": "download", "objects": [OBJECT]}
        assert [batch(pool, forge, wanted)[0] for _ in range(2)] == [429, 200]
        first, second = get(pool, forge), get(pool, forge)
        assert (first.status, first.headers["Retry-After"]) == (429, "0")
        assert second.data == WEIGHTS
        assert [exchange.status for exchange in batch_requests(forge)] == [429, 200]


def test_forges_without_the_object_or_without_lfs(tmp_path: Path, pool: urllib3.PoolManager) -> None:
    wanted = {"operation": "download", "objects": [OBJECT]}
    with serving(tmp_path, forge_faults.MissingObjects) as forge:
        assert batch(pool, forge, wanted)[1]["objects"][0]["error"]["code"] == 404
    with Forge(forge.root, handler=forge_faults.NoLfs) as forge:
        assert batch(pool, forge, wanted) == (404, {})


def test_a_fault_has_only_the_settings_it_knows() -> None:
    with pytest.raises(TypeError, match="afterwards"):
        forge_faults.Truncated.having(afterwards=5)

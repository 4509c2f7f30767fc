"""Answers of the Git LFS batch API, as its specification has them: refusals, errors of single objects, headers, addresses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import publish
from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.sources.lfs_actions import MAX_HEADERS, action_expiry, action_headers
from tests.conftest import FakeClock
from tests.servers.forge_faults import Fault, batch_requests, object_requests
from tests.steps.model_trees import model_tree
from tests.steps.sources.running import fetch, taken

pytestmark = pytest.mark.slow

Serving = Callable[..., Any]


@pytest.fixture
def serving(tmp_path: Path, forge_root: Path) -> Serving:
    @contextmanager
    def serving(handler: type[ForgeHandler]) -> Iterator[Forge]:
        publish(forge_root, "bert", model_tree(tmp_path / "tree"))
        with Forge(forge_root, handler=handler) as forge:
            yield forge

    return serving


def failure_of(context: Context, forge: Forge) -> SlipwayError:
    with pytest.raises(SlipwayError) as caught:
        fetch(context, forge.url("bert"))
    return caught.value


class Refuses(Fault):
    """Answers batch requests with ``status`` and ``document``."""

    status: ClassVar[int] = 403
    document: ClassVar[bytes] = b""
    content_type: ClassVar[str] = "application/vnd.git-lfs+json"

    def lfs_batch(self, name: str, body: bytes) -> Reply:
        headers = {"Content-Type": self.content_type, "Content-Length": str(len(self.document))}
        return Reply(self.status, headers, [self.document]) if self.strikes() else super().lfs_batch(name, body)


SENTENCE = "This repository is over its data quota."


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.SOURCE_PROTOCOL),
        (401, Reason.ACCESS_DENIED),
        (403, Reason.ACCESS_DENIED),
        (404, Reason.LFS_UNAVAILABLE),
        (406, Reason.SOURCE_PROTOCOL),
        (413, Reason.SOURCE_PROTOCOL),
        (422, Reason.SOURCE_PROTOCOL),
        (501, Reason.LFS_UNAVAILABLE),
    ],
)
def test_a_refused_batch_shows_the_servers_sentence(
    context: Context, serving: Serving, clock: FakeClock, status: int, reason: Reason
) -> None:
    document = json.dumps({"message": f"{SENTENCE}\x1b[2J", "documentation_url": "x", "request_id": "1"}).encode()
    with serving(Refuses.having(status=status, document=document)) as forge:
        failure = failure_of(context, forge)
        assert failure.reason is reason
        assert f"{status} ({SENTENCE[:-1]}" in failure.message
        assert "\x1b" not in failure.message
        assert len(batch_requests(forge)) == 1
    assert clock.slept == []


@pytest.mark.hard
@pytest.mark.fault("survived")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507, 509, 522])
def test_a_busy_batch_is_asked_again(context: Context, serving: Serving, status: int) -> None:
    with serving(Refuses.having(status=status, document=b'{"message": "Later."}', times=2)) as forge:
        assert fetch(context, forge.url("bert")).files == 5
        assert len(batch_requests(forge)) == 3


@pytest.mark.hard
@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("status", "document", "content_type", "says"),
    [
        (200, b"<!DOCTYPE html><p>Log in", "text/html", "a web page, such as a proxy's or a login's"),
        (403, b"<html>Blocked by the office</html>", "text/html", "403 (a web page, such as a proxy's or a login's)"),
        (403, b"Go away,\nplease", "text/plain", "403 (Go away,)"),
        (403, b'{"error": "Invalid credentials"}', "application/json", "403 (Invalid credentials)"),
        (403, b'{"message": "' + b"x" * 5000 + b'"}', "application/json", "xxx…"),
        (403, b'{"message": "see https://u:hush@h/x?token=hush"}', "application/json", "see https://"),
        (403, b"\xff\xfe", "application/json", "answered 403."),
        (
            403,
            b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code><Message>Request has\nexpired &amp; gone</Message>'
            b"<X-Amz-Expires>60</X-Amz-Expires></Error>",
            "application/xml",
            "403 (AccessDenied: Request has expired & gone)",
        ),
        (403, b"<Error><Message>see https://u:hush@h/x?token=hush</Message></Error>", "text/xml", "see https://"),
        (403, b"<Error><Code/></Error>", "application/xml", "answered 403."),
        (403, b'{"message": 5, "errors": [5]}', "application/json", "answered 403."),
        (200, b"", "application/json", "not a JSON object"),
        (200, b'{"objects": [], "transfer": "tus"}', "application/json", "transfer 'tus' where basic was requested"),
        (200, b'{"objects": [], "hash_algo": "sha512"}', "application/json", "hash_algo 'sha512' where sha256 was requested"),
        (204, b"", "application/json", "answered 204"),
    ],
)
def test_odd_answers_to_a_batch_are_told(
    context: Context, serving: Serving, status: int, document: bytes, content_type: str, says: str
) -> None:
    with serving(Refuses.having(status=status, document=document, content_type=content_type)) as forge:
        failure = failure_of(context, forge)
    assert failure.reason.exit_code == 10
    assert says in failure.message
    assert "hush" not in failure.message
    assert len(failure.message) < 600


class ObjectError(Fault):
    """Knows no single object: an error with ``code`` for each."""

    code: ClassVar[object] = 500

    def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
        if not self.strikes():
            return super().lfs_answer(name, oid, size)
        return {"oid": oid, "size": size, "error": {"code": self.code, "message": SENTENCE}}


@pytest.mark.hard
@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (401, Reason.ACCESS_DENIED),
        (403, Reason.ACCESS_DENIED),
        ("403", Reason.ACCESS_DENIED),
        (404, Reason.LFS_OBJECT_MISSING),
        (410, Reason.LFS_OBJECT_MISSING),
        (409, Reason.SOURCE_PROTOCOL),
        (422, Reason.SOURCE_PROTOCOL),
    ],
)
def test_an_objects_error_has_its_reason(
    context: Context, serving: Serving, clock: FakeClock, code: object, reason: Reason
) -> None:
    with serving(ObjectError.having(code=code)) as forge:
        failure = failure_of(context, forge)
    assert failure.reason is reason
    assert "model.safetensors" in failure.message
    assert reason is Reason.LFS_OBJECT_MISSING or SENTENCE[:-1] in failure.message
    assert clock.slept == []


@pytest.mark.hard
@pytest.mark.fault("survived")
@pytest.mark.parametrize("code", [429, 500, 503, "busy"])
def test_an_objects_passing_error_is_asked_again(context: Context, serving: Serving, code: object) -> None:
    with serving(ObjectError.having(code=code, times=2)) as forge:
        assert fetch(context, forge.url("bert")).files == 5
        assert len(batch_requests(forge)) == 3


@pytest.mark.fault("refused")
def test_an_object_that_stays_busy_is_transient(context: Context, serving: Serving, clock: FakeClock) -> None:
    with serving(ObjectError.having(code=429)) as forge:
        failure = failure_of(context, forge)
    assert failure.reason is Reason.SOURCE_BUSY
    assert SENTENCE[:-1] in failure.message
    assert clock.monotonic() > 120


class Signed(ForgeHandler):
    """Objects need two headers of the action, at another origin than the LFS server; ``there`` leads on from it."""

    elsewhere: ClassVar[str] = ""
    seen: ClassVar[list[dict[str, str]]] = []

    def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
        answer = super().lfs_answer(name, oid, size)
        answer["actions"]["download"] |= {
            "href": f"{self.elsewhere}/{name}.git/lfs/objects/{oid}",
            "header": {"Authorization": "Bearer of-the-store", "X-Ms-Version": "2021", "Host": "evil", "Content-Length": "9"},
        }
        return answer


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("redirects", [False, True], ids=["direct", "redirected"])
def test_an_actions_headers_go_to_its_address_alone(
    context: Context, serving: Serving, forge_root: Path, tmp_path: Path, redirects: bool
) -> None:
    seen: dict[str, list[tuple[str | None, str | None]]] = {"store": [], "end": []}

    class End(ForgeHandler):
        def lfs_object(self, name: str, oid: str) -> Reply:
            seen["end"].append((self.headers.get("Authorization"), self.headers.get("X-Ms-Version")))
            return super().lfs_object(name, oid)

    with Forge(forge_root, handler=End) as end:

        class Store(ForgeHandler):
            def lfs_object(self, name: str, oid: str) -> Reply:
                seen["store"].append((self.headers.get("Authorization"), self.headers.get("X-Ms-Version")))
                assert self.headers["Host"].startswith("127.0.0.1:")
                if redirects:
                    return Reply(307, {"Location": f"{end.url(name)}/lfs/objects/{oid}", "Content-Length": "0"})
                return super().lfs_object(name, oid)

        with Forge(forge_root, handler=Store) as store:
            address = store.url("x").removesuffix("/x.git")
            with serving(type("Handler", (Signed,), {"elsewhere": address})) as forge:
                weights = (tmp_path / "tree" / "model.safetensors").read_bytes()
                assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights
    assert set(seen["store"]) == {("Bearer of-the-store", "2021")}
    assert set(seen["end"]) == ({(None, None)} if redirects else set())


@pytest.mark.fault("accepted")
def test_a_relative_address_is_below_the_batch(context: Context, serving: Serving) -> None:
    class Relative(ForgeHandler):
        def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
            answer = super().lfs_answer(name, oid, size)
            answer["actions"]["download"]["href"] = f"../../../lfs/objects/{oid}"
            return answer

    with serving(Relative) as forge:
        assert fetch(context, forge.url("bert")).files == 5


@pytest.mark.fault("survived")
def test_an_expired_address_is_asked_for_again(context: Context, serving: Serving, clock: FakeClock) -> None:
    class Expiring(ForgeHandler):
        def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
            answer = super().lfs_answer(name, oid, size)
            answer["actions"]["download"] |= {
                "expires_in": 60,
                "href": f"{answer['actions']['download']['href']}?at={clock.monotonic()}",
            }
            if not clock.slept:
                clock.sleep(61)  # between the answer and its use
            return answer

    with serving(Expiring) as forge:
        assert fetch(context, forge.url("bert")).files == 5
        assert len(batch_requests(forge)) == 2
        assert all("?at=61" in exchange.path for exchange in object_requests(forge))


@pytest.mark.fault("survived")
def test_a_batch_that_is_too_large_is_halved(context: Context, forge_root: Path, tmp_path: Path) -> None:
    class One(ForgeHandler):
        def lfs_batch(self, name: str, body: bytes) -> Reply:
            if len(json.loads(body)["objects"]) > 1:
                return Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"Content-Length": "0"})
            return super().lfs_batch(name, body)

    publish(forge_root, "bert", model_tree(tmp_path / "tree"), lfs=("*.safetensors", "tokenizer.json", "config.json"))
    with Forge(forge_root, handler=One) as forge:
        assert fetch(context, forge.url("bert")).files == 5
        assert len(batch_requests(forge)) == 5


@pytest.mark.fault("survived")
@pytest.mark.parametrize("wrong", ["bytes 5-9/10", "bytes 0-9/77", "nonsense"])
def test_a_part_of_another_range_is_dropped(context: Context, serving: Serving, wrong: str) -> None:
    """A cache that answers with another range: the object is read in one stream."""

    class WrongRange(ForgeHandler):
        def lfs_object(self, name: str, oid: str) -> Reply:
            reply = super().lfs_object(name, oid)
            return replace(reply, headers={**reply.headers, "Content-Range": wrong}) if self.headers["Range"] else reply

    with serving(WrongRange) as forge:
        part = context.scratch / "partial"
        part.mkdir(parents=True)
        oid = next(iter((forge.root / "bert.git").rglob("lfs/objects/*/*/*"))).name
        (part / oid).write_bytes(b"")
        assert fetch(context, forge.url("bert")).files == 5


@pytest.mark.fault("refused")
def test_a_login_page_is_no_object(context: Context, serving: Serving, clock: FakeClock) -> None:
    page = b"<html>Log in to the office</html>"

    class Portal(ForgeHandler):
        def lfs_object(self, name: str, oid: str) -> Reply:
            return Reply(200, {"Content-Type": "text/html", "Content-Length": str(len(page))}, [page])

    with serving(Portal) as forge:
        failure = failure_of(context, forge)
    assert failure.reason is Reason.SOURCE_PROTOCOL
    assert "a web page, such as a proxy's or a login's" in failure.message
    assert clock.slept == []


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "found",
    [
        5,
        [],
        {"a b": "x"},
        {"": "x"},
        {"a": "x\r\nHost: evil"},
        {"a": "snow\u2603"},
        {"a": 5},
        {"a": "x" * 20_000},
        {f"a{number}": "x" for number in range(MAX_HEADERS + 1)},
    ],
)
def test_malformed_headers_are_refused(found: object) -> None:
    assert action_headers(found) is None


@pytest.mark.fault("accepted")
def test_headers_of_framing_are_the_clients() -> None:
    theirs = {"authorization": "x", "X-Ms-Blob-Type": "BlockBlob", "Accept": "*/*", "x-amz-date": " 2026 "}
    ours = dict.fromkeys(
        ["Host", "Content-Length", "TRANSFER-ENCODING", "Connection", "Proxy-Authorization", "Cookie", "Range"], "1"
    )
    assert action_headers({**theirs, **ours, "Empty": ""}) == {**theirs, "x-amz-date": "2026"}
    assert action_headers(None) == {}


@pytest.mark.parametrize(
    ("action", "seconds"),
    [
        ({"expires_in": 60}, 60),
        ({"expires_in": 60, "expires_at": "2030-01-01T00:00:00Z"}, 60),
        ({"expires_at": "2026-11-23T21:00:00Z"}, 3600),
        ({"expires_at": "2026-11-23T22:00:00+01:00"}, 3600),
        ({"expires_at": "2026-11-23T21:00:00"}, 3600),
        ({"expires_at": "0001-01-01T00:00:00Z"}, None),
        ({"expires_at": "soon"}, None),
        ({"expires_at": 5, "expires_in": "5"}, None),
        ({"expires_in": -1}, None),
        ({"expires_in": 10**30}, None),
        ({"expires_in": float("nan")}, None),
        ({"expires_in": True}, None),
        ({}, None),
    ],
)
def test_an_action_says_when_it_expires(clock: FakeClock, action: dict[str, object], seconds: int | None) -> None:
    expires = action_expiry(action, clock.now())
    assert expires == (None if seconds is None else clock.now() + timedelta(seconds=seconds))

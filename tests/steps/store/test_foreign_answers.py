"""A network's login or a proxy answers 200 in the store's place: the failure says so at once, whatever was requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.store.bucket import BucketPrefix, BucketStore
from steps.store.supported import open_store
from tests.servers.faulty_server import Answer, Effect, Fault, FaultyServer

ANSWERS = {
    "page": (b"<html><body>Log in</body></html>", "text/html"),
    "page that is no XML": (b"<!DOCTYPE html><p>Log in<br>", "text/html; charset=utf-8"),
    "text": (b"Log in", "text/plain"),
    "list": (b"[1]", "application/json"),
    "object": (b'{"items": [1]}', "application/json"),
    "nothing": (b"", "text/plain"),
    "XML": (b"<A><IsTruncated>true</IsTruncated><Contents><Key>a</Key></Contents></A>", "application/xml"),
}
REQUESTS: dict[str, Callable[[BucketStore[BucketPrefix], BucketPrefix], object]] = {
    "size": lambda store, prefix: store.size("runs/one/fetch.json"),
    "write": lambda store, prefix: store.write("runs/one/fetch.json", b"{}"),
    "put": lambda store, prefix: store.put("packages/x", [b"a"]),
    "list": lambda store, prefix: prefix.objects(),
    "create": lambda store, prefix: prefix.create("x", b"a"),
    "check": lambda store, prefix: prefix.check(),
}


class Login(FaultyServer):
    """Answers everything alike."""

    body, kind = ANSWERS["page"]

    def answer(self, method: str, path: str, headers: object, body: bytes, effect: Effect | None) -> Answer:
        """The page."""
        return Answer(200, self.body, {"Content-Type": self.kind})

    def fails(self, method: str, path: str, fault: Fault) -> Answer:
        """Not used."""
        return Answer(fault.status)


@pytest.fixture
def login(aws: pytest.MonkeyPatch) -> Iterator[Login]:
    with Login() as server:
        for name in ("AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST"):
            aws.setenv(name, server.url)
        yield server


@pytest.mark.slow
@pytest.mark.fault("refused")
@pytest.mark.hard
@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize("sent", ANSWERS)
def test_an_answer_of_somebody_else_is_named(login: Login, scheme: str, sent: str) -> None:
    login.body, login.kind = ANSWERS[sent]
    store = open_store(f"{scheme}://models/a")
    assert isinstance(store, BucketStore)
    prefix = store.open_prefix(f"{scheme}://models/a")
    for name, request in REQUESTS.items():
        before = len(login.requests)
        with pytest.raises(SlipwayError) as caught:
            pytest.fail(f"{name}: {request(store, prefix)}")
        assert caught.value.reason is Reason.STORE_UNREADABLE, (name, caught.value)
        assert f"{scheme}://models/a/" in caught.value.message
        assert f"the answer of {login.url.removeprefix('http://')} is not one of" in caught.value.message
        assert login.url in caught.value.hint
        assert len(login.requests) - before <= 2, f"{name} was tried again"

"""Forges that misbehave, as real servers on loopback: handlers to give to ``Forge(root, handler=…)``.

    with Forge(root, handler=CutEveryObject.having(after=1000, times=2)) as forge:
        …
        assert sum(exchange.sent for exchange in object_requests(forge)) == …

A fault touches the first ``times`` requests for the same path, or all of them where ``times`` is None; the requests after
those are answered as a good forge does. The forge's own access log, ``Forge.exchanges``, is the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any, ClassVar

from pipelines.demo.forge import Exchange, Forge, ForgeHandler, Reply


def batch_requests(forge: Forge) -> list[Exchange]:
    return [exchange for exchange in forge.exchanges if exchange.path.endswith("/info/lfs/objects/batch")]


def object_requests(forge: Forge) -> list[Exchange]:
    return [exchange for exchange in forge.exchanges if "/lfs/objects/" in exchange.path and exchange.method == "GET"]


class Fault(ForgeHandler):
    times: ClassVar[int | None] = None

    @classmethod
    def having(cls, **settings: Any) -> type[ForgeHandler]:
        """This handler with other class attributes."""
        unknown = [name for name in settings if not hasattr(cls, name)]
        if unknown:
            raise TypeError(f"{cls.__name__} has no {unknown}")
        return type(cls.__name__, (cls,), settings)

    def strikes(self) -> bool:
        """Whether the request that is being answered is one of the first ``times`` for its path."""
        earlier = 0
        for exchange in self.server.exchanges:
            if exchange is self.exchange:
                break
            earlier += (exchange.method, exchange.path) == (self.exchange.method, self.exchange.path)
        return self.times is None or earlier < self.times


class CutEveryObject(Fault):
    """Promises the whole object and closes the connection after ``after`` bytes of the answer."""

    after: ClassVar[int] = 1000

    def lfs_object(self, name: str, oid: str) -> Reply:
        reply = super().lfs_object(name, oid)
        return replace(reply, body=self._cut(reply.body)) if self.strikes() else reply

    def _cut(self, body: Iterable[bytes]) -> Iterator[bytes]:
        yield b"".join(body)[: self.after]
        raise ConnectionAbortedError


class Truncated(Fault):
    """Sends the first ``after`` bytes as if they were all: the length that it names fits."""

    after: ClassVar[int] = 1000

    def lfs_object(self, name: str, oid: str) -> Reply:
        reply = super().lfs_object(name, oid)
        if not self.strikes():
            return reply
        body = b"".join(reply.body)[: self.after]
        return replace(reply, headers={**reply.headers, "Content-Length": str(len(body))}, body=[body])


class WrongBytes(Fault):
    """Flips the lowest bit of the byte ``at`` of each answer with an object's bytes."""

    at: ClassVar[int] = 0

    def lfs_object(self, name: str, oid: str) -> Reply:
        reply = super().lfs_object(name, oid)
        if not self.strikes():
            return reply
        body = bytearray(b"".join(reply.body))
        body[self.at] ^= 1
        return replace(reply, body=[bytes(body)])


class MissingObjects(Fault):
    """Knows the repository and none of its objects: an error 404 for each in the batch's answer."""

    def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
        if not self.strikes():
            return super().lfs_answer(name, oid, size)
        return {"oid": oid, "size": size, "error": {"code": 404, "message": "Object does not exist."}}


class NoLfs(Fault):
    """Has no Git LFS: the batch API is not found."""

    def lfs_batch(self, name: str, body: bytes) -> Reply:
        return _refusal(HTTPStatus.NOT_FOUND) if self.strikes() else super().lfs_batch(name, body)


class Throttled429(Fault):
    """Asks to come back in ``retry_after`` seconds, on the batch API and for objects."""

    times = 1
    retry_after: ClassVar[int] = 0

    def lfs_batch(self, name: str, body: bytes) -> Reply:
        return self._throttle() if self.strikes() else super().lfs_batch(name, body)

    def lfs_object(self, name: str, oid: str) -> Reply:
        return self._throttle() if self.strikes() else super().lfs_object(name, oid)

    def _throttle(self) -> Reply:
        return _refusal(HTTPStatus.TOO_MANY_REQUESTS, **{"Retry-After": str(self.retry_after)})


class IgnoresRange(CutEveryObject):
    """Answers with 200 and the whole object whatever range is asked for.

    With ``times`` above 0 it cuts the first answers after ``after`` bytes, so that a client has something to resume.
    """

    times = 0

    def lfs_object(self, name: str, oid: str) -> Reply:
        del self.headers["Range"]
        return super().lfs_object(name, oid)


def _refusal(status: HTTPStatus, **headers: str) -> Reply:
    return Reply(status, {**headers, "Content-Length": "0"})

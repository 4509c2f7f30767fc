"""The head of an HTTP answer within limits: its bytes together, and the time that it takes once it has begun.

``http.client`` limits a line to 64 KiB and headers to a hundred, reads any number of interim answers (``100 Continue``), and
waits for each byte anew. These classes take the place of urllib3's own.
"""

from __future__ import annotations

import functools
import http.client
import io
import time
from typing import TYPE_CHECKING

from steps.net.least_rate import LeastRate, RateMeter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

MAX_HEAD = 256 << 10  # bytes of status lines and headers; what is usual has less than 8 KiB
HEAD_SECONDS = 60.0  # from the first byte to the last


class HeadTooLargeError(http.client.HTTPException):
    """A server whose headers do not end."""


class BoundedResponse(http.client.HTTPResponse):
    """An answer that refuses a head beyond the limits with ``HeadTooLargeError``, or with ``TimeoutError``."""

    def begin(self) -> None:
        """Read status line and headers."""
        if self.headers is not None:  # None until they are read
            return
        if isinstance(self.fp, io.BufferedReader):
            bounded = _BoundedReader(self.fp.detach())
            self.fp = io.BufferedReader(bounded)
            super().begin()
            bounded.unbind(self.meter())
        else:
            super().begin()

    def meter(self) -> RateMeter | None:
        """What measures the rate of the body where whoever reads it does not; None here."""
        return None


class MeasuredResponse(BoundedResponse):
    """The same for client libraries, which read bodies in their own way: the rate is measured below them."""

    def meter(self) -> RateMeter | None:
        """A measure by the settings."""
        return RateMeter(LeastRate.configured(), "A download from the store")


class _BoundedReader(io.RawIOBase):
    """A connection's bytes, counted until ``unbind`` is called."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._left: int | None = MAX_HEAD
        self._until: float | None = None
        self._meter: RateMeter | None = None

    def unbind(self, meter: RateMeter | None) -> None:
        """The head has ended: what follows is limited by ``meter``, or by who reads it."""
        self._left, self._meter = None, meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        if self._meter is not None:
            with self._meter.waiting():
                count = self._raw.readinto(buffer)
            self._meter.got(count or 0)
            return count
        count = self._raw.readinto(buffer)
        if self._left is not None:
            self._left -= count or 0
            if self._left < 0:
                raise HeadTooLargeError(f"its headers have more than {MAX_HEAD} bytes")
            now = time.monotonic()
            self._until = self._until or now + HEAD_SECONDS
            if now > self._until:
                raise TimeoutError(f"its headers took longer than {HEAD_SECONDS:.0f} seconds")
        return int(count) if count is not None else None

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._raw.close()


@functools.cache
def pool_classes(response: type[BoundedResponse] = BoundedResponse) -> Mapping[str, type[urllib3.HTTPConnectionPool]]:
    """urllib3's pools by scheme, with connections whose answers are bounded. Imported late, as urllib3 is."""
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class PlainConnection(HTTPConnection):
        response_class = response

    class TlsConnection(HTTPSConnection):
        response_class = response

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}

"""Download of one large object: parallel ranges, hashed while written, resumed after a cut.

Ranges arrive in parallel and are written in order. So the file's length always says how much of it is right, one pass of
SHA-256 keeps up with the writing, and resuming needs no book-keeping: an unfinished file has its object's id as its name, and
the next try goes on after its last byte. A connection that breaks costs only what it had not delivered, and so does a transfer
that is stopped, apart from ranges behind a gap. A process that is killed costs what was on its way: ranges are small at first
and grow with what is done, so that is a quarter of it, or eight small ranges.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import hashlib
import io
import itertools
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from steps.core.claim import NOT_SUPPORTED, claim
from steps.core.clock import Clock
from steps.core.digest import CHUNK
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.progress import Meter
from steps.net.answers import WEB_PAGE, is_web_page
from steps.net.credentials import BoundHeaders
from steps.net.http import Response
from steps.net.least_rate import LeastRate, RateMeter, TooSlowError
from steps.net.retry import SERVER_RETRIES, Retries, TransientError, retry_messages
from steps.net.urls import Url, host_of
from steps.sources.client import SourceClient

CONNECTIONS = 8  # a single stream is often capped, eight are not
READ = 64 << 10  # bytes taken from a connection at once: what is stopped loses less than that of what has arrived
_WEB_PAGE_HINT = "Open the address of the repository in a browser on this network: a proxy or a login may stand before it."
# Refusals of an address that was good a while ago: of a signature (object stores answer 400 or 403) or a token.
_EXPIRED = frozenset({400, 401, 403, 410})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19}|\*)")
PARTS = (256 << 10, 8 << 20)  # bytes asked for at once, at least and at most


@dataclass(frozen=True)
class RemoteObject:
    """Content of known size and SHA-256 at an address.

    ``headers`` are those that the address needs. ``refresh`` asks for a new address when this one has expired, which it does at
    ``expires`` where that is known.
    """

    sha256: str
    size: int
    url: Url
    headers: BoundHeaders | None
    what: str
    refresh: Callable[[], RemoteObject]
    expires: datetime | None = None


def _is_part(response: Response, begin: int, size: int) -> bool:
    """Whether an answer has the bytes from ``begin`` on, of an object of ``size`` bytes (RFC 9110, section 14.4)."""
    named = response.header("Content-Range")
    if response.status != 206 or response.header("Content-Type").startswith("multipart/"):
        return False
    match = _CONTENT_RANGE.fullmatch(named.strip())
    return not named or (match is not None and int(match[1]) == begin and match[2] in ("*", str(size)))


class _RangeIgnored(Exception):
    """The server sent the whole object where a part was asked for."""


@dataclass(frozen=True)
class _Range:
    """Bytes ``begin`` to ``end`` (exclusive) of an object; ``got`` are those that have arrived, from the first on."""

    begin: int
    end: int
    got: bytearray = field(default_factory=bytearray)


class _Stopped(Exception):
    """The transfer is being given up; only ever seen by its own worker threads."""


class Transfer:
    """Downloads objects one after the other, each over many connections."""

    def __init__(self, http: SourceClient, clock: Clock, meter: Meter, note: Callable[[str], None]) -> None:
        self._http, self._clock, self._meter, self._note = http, clock, meter, note
        self._stop = threading.Event()
        self._rate: RateMeter | None = None  # of the object that is being downloaded, over all connections
        self._responses: set[Response] = set()
        self._renewing = threading.Lock()
        self._renewed: dict[str, RemoteObject] = {}
        self._came_from = ""  # the host of the newest answer, and the proxy before it
        self._window: deque[tuple[_Range, concurrent.futures.Future[bytes]]] = deque()

    def fetch(self, remote: RemoteObject, path: Path) -> None:
        """Write the object to ``path``, going on with what is there. On return its digest was checked.

        Wrong bytes are thrown away and fetched once more before ``DigestMismatch`` is raised. Call it inside of
        ``exclusive``: nobody else may write there.
        """
        digests = []
        self._rate = RateMeter(LeastRate.configured(), remote.what)
        try:
            with path.open("ab+") as file:
                for again in (True, False):
                    digests.append(self._write(remote, file))
                    if digests[-1] == remote.sha256:
                        return
                    file.truncate(0)
                    self._meter.advance(-remote.size)
                    if again:
                        self._note(f"{remote.what} arrived with a wrong digest; fetching it once more.")
        except OSError as error:
            raise from_os_error(error, f"Cannot write {remote.what} ({remote.size} bytes) to {path}") from error
        path.unlink(missing_ok=True)
        raise self._wrong(remote, digests)

    def _wrong(self, remote: RemoteObject, digests: list[str]) -> SlipwayError:
        """What to say of bytes that are wrong: the server may hold them, or something on the way has changed them."""
        came = f"from {self._came_from}" if self._came_from else "as it was downloaded"
        if len(set(digests)) > 1:
            hint = "Two downloads brought different bytes: the network or a proxy changes them. Fetch it by another way."
        else:
            hint = (
                "Fetch it by another network, without a proxy. Where it is the same there, the server holds wrong bytes: "
                "whoever owns the repository must push the object again."
            )
        return SlipwayError(
            Reason.DIGEST_MISMATCH,
            f"{remote.what}, {came}, does not have the sha256 {remote.sha256} that its pointer names but {digests[-1]}.",
            hint=hint,
        )

    def _write(self, remote: RemoteObject, file: IO[bytes]) -> str:
        digest = hashlib.sha256()
        if file.seek(0, io.SEEK_END) > remote.size:
            file.truncate(0)
        file.seek(0)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        if done := file.tell():
            self._note(f"{remote.what}: resuming after byte {done}.")
            self._meter.advance(done, before=True)
        try:
            for chunk in self._chunks(remote, done):
                file.write(chunk)
                digest.update(chunk)
        except BaseException:  # stopped, or given up
            self._keep_arrived(file)
            raise
        file.flush()
        return digest.hexdigest()

    def _keep_arrived(self, file: IO[bytes]) -> None:
        """Write what has arrived and joins what is in the file: the next run need not fetch it again."""
        with contextlib.suppress(OSError):
            file.flush()
            for part, _ in self._window:
                if file.seek(0, io.SEEK_END) != part.begin:
                    return
                file.write(part.got)
                file.flush()

    def _chunks(self, remote: RemoteObject, start: int) -> Iterator[bytes]:
        """The object's bytes from ``start`` on, in order."""
        position = start
        try:
            for chunk in self._in_parallel(remote, start):
                yield chunk
                position += len(chunk)
        except _RangeIgnored:
            self._note(f"{remote.url.host} ignores ranges; downloading in one stream.")
            yield from self._in_one(remote, position)

    def _in_parallel(self, remote: RemoteObject, start: int) -> Iterator[bytes]:
        ranges = _ranges(start, remote.size)
        pool = concurrent.futures.ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="range")
        window = self._window
        window.clear()
        try:
            while True:
                for part in itertools.islice(ranges, CONNECTIONS - len(window)):
                    window.append((part, pool.submit(self._range, remote, part)))
                if not window:
                    return
                chunk = window[0][1].result()
                window.popleft()
                yield chunk
        finally:
            # Also when the consumer stops early (full disk, Ctrl-C): no thread is left behind.
            self._stop.set()
            self._cut_connections()
            pool.shutdown(wait=True, cancel_futures=True)
            self._stop.clear()

    def _range(self, remote: RemoteObject, part: _Range) -> bytes:
        """The bytes of a range; a cut connection is taken up where it broke."""
        begin, end, got = part.begin, part.end, part.got
        retries = self._retries()
        while len(got) < end - begin:
            before = len(got)
            try:
                self._read_range(remote, begin, end, got)
            except TransientError as error:
                # A connection that delivered something is no failed try: the next one goes on where it was cut.
                if len(got) > before and not isinstance(error, TooSlowError):
                    retries.restart()
                retries.wait_after(error)
        return bytes(got)

    def _read_range(self, remote: RemoteObject, begin: int, end: int, got: bytearray) -> None:
        """Append to ``got`` what one request delivers of the missing bytes."""
        headers = {}
        if begin + len(got) > 0 or end < remote.size:
            headers["Range"] = f"bytes={begin + len(got)}-{end - 1}"
        with self._open(remote, headers) as response:
            if "Range" in headers and not _is_part(response, begin + len(got), remote.size):
                raise _RangeIgnored
            for chunk in self._stream(response, end - begin - len(got)):
                got += chunk
                self._meter.advance(len(chunk))
        if len(got) < end - begin:
            raise TransientError(
                Reason.NETWORK_UNREACHABLE, f"{remote.what}: the connection broke after {begin + len(got)} bytes."
            )

    def _in_one(self, remote: RemoteObject, start: int) -> Iterator[bytes]:
        """The same bytes from a server without ranges: what is there already is read again and dropped."""
        position, retries = start, self._retries()
        while position < remote.size:
            seen, before = 0, position
            try:
                with self._open(remote, {}) as response:
                    if response.status == 206 and not _is_part(response, 0, remote.size):
                        raise SlipwayError(
                            Reason.SOURCE_PROTOCOL,
                            f"{remote.what}: {host_of(response.address)} sent a part that was not requested.",
                        )
                    for chunk in self._stream(response, remote.size):
                        fresh = chunk[max(0, position - seen) :]
                        seen += len(chunk)
                        if fresh:
                            position += len(fresh)
                            self._meter.advance(len(fresh))
                            yield fresh
                if position < remote.size:
                    raise TransientError(Reason.NETWORK_UNREACHABLE, f"{remote.what}: the connection broke after {seen} bytes.")
            except TransientError as error:
                if position > before and not isinstance(error, TooSlowError):
                    retries.restart()
                retries.wait_after(error)

    @contextlib.contextmanager
    def _open(self, remote: RemoteObject, headers: dict[str, str]) -> Iterator[Response]:
        # Addresses in an LFS answer are signed for a while only: one that is refused is asked for once more.
        current = self._renewed.get(remote.sha256, remote)
        if current.expires is not None and self._clock.now() >= current.expires:
            current = self._renew(remote, current)
        response = self._request(current, headers)
        if response.status in _EXPIRED:
            response.close()
            current = self._renew(remote, current)
            response = self._request(current, headers)
        try:
            if response.status not in (200, 206):
                if response.status in (404, 410):
                    raise SlipwayError(Reason.LFS_OBJECT_MISSING, f"{remote.what} is not on the server ({response.status}).")
                raise self._http.failure(response, remote.what, current.headers)
            length = response.header("Content-Length")
            if response.status == 200 and length != str(remote.size) and is_web_page(response, b""):
                raise SlipwayError(
                    Reason.SOURCE_PROTOCOL,
                    f"{remote.what}: {host_of(response.address)} answered with {WEB_PAGE}.",
                    hint=_WEB_PAGE_HINT,
                )
            self._came_from = host_of(response.address) + (f" by {response.proxy}" if response.proxy else "")
            self._responses.add(response)  # before the look at _stop: who sets it cuts what is in the set
            if self._stop.is_set():
                raise _Stopped
            yield response
        finally:
            self._responses.discard(response)
            response.close()

    def _request(self, remote: RemoteObject, headers: dict[str, str]) -> Response:
        return self._http.request(
            "GET",
            remote.url,
            what=remote.what,
            headers={"Accept-Encoding": "identity", **headers},
            bound=remote.headers,
            judged=_EXPIRED,
        )

    def _cut_connections(self) -> None:
        """Wake the threads that wait for a server which is slow or silent: giving up must not take its time."""
        for response in tuple(self._responses):
            response.shutdown()

    def _renew(self, remote: RemoteObject, expired: RemoteObject) -> RemoteObject:
        """A new address, asked for once for all connections that were refused with the same one."""
        with self._renewing:
            if self._renewed.get(remote.sha256, remote) is expired:
                self._renewed[remote.sha256] = expired.refresh()
            return self._renewed[remote.sha256]

    def _stream(self, response: Response, limit: int) -> Iterator[bytes]:
        """The body's first ``limit`` bytes; a server that never stops does not get to fill the disk."""
        for chunk in response.chunks(limit, size=READ, rate=self._rate):
            if self._stop.is_set():
                raise _Stopped
            yield chunk
            limit -= len(chunk)
            if limit <= 0:
                return

    def _retries(self) -> Retries:
        return SERVER_RETRIES.start(clock=self._clock, notify=retry_messages(self._note), stopped=self._stop)


def _ranges(start: int, size: int) -> Iterator[_Range]:
    """The ranges from ``start`` to ``size``, in order: the first ones small, later ones a share of what lies before them."""
    most = min(PARTS[1], size // (8 * CONNECTIONS))
    while start < size:
        end = min(size, start + max(PARTS[0], min(most, start // (4 * CONNECTIONS))))
        yield _Range(start, end)
        start = end


@contextlib.contextmanager
def exclusive(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Be the only process inside for this ``path`` (which is not touched); ``wait`` is called before waiting for another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    while True:
        with lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NOT_SUPPORTED:
                    raise
                lock.unlink(missing_ok=True)
                with claim(path.with_name(path.name + ".claim"), wait):
                    yield
                return
            if not _is_at(file, lock):
                continue  # whoever held it has removed it, and others may hold a new one
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False

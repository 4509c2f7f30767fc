"""A resumable upload to Google Cloud Storage that goes on after failures, publishes at its end, and can be cancelled.

The session is opened by google-cloud-storage; this is the rest of
https://cloud.google.com/storage/docs/performing-resumable-uploads. The library's own ``BlobWriter`` does not serve a
stream that must not be published when it breaks: its ``terminate`` deletes another address than the session's, its
finalizer publishes what was to be cancelled, and it gives up where the server has kept only a part of what was sent.
"""

from __future__ import annotations

import base64
import contextlib
import re
from typing import TypedDict

from steps.core.errors import Reason, SlipwayError
from steps.net.libraries import equip_session
from steps.store.request_retry import TIMEOUT, RequestRetry

PART = 8 << 20  # bytes of one request; a multiple of 256 KiB, as the protocol demands


class UploadedObject(TypedDict):
    """What is used of an object's metadata (https://cloud.google.com/storage/docs/json_api/v1/objects#resource)."""

    generation: str
    crc32c: str


class SessionGone(SlipwayError):
    """The server does not know the session: it has dropped it, or refused to publish it before."""


class ResumableUpload:
    """One object's bytes, sent to an upload session in parts.

    Attributes:
        session: The session's address. Whoever knows it may write to the session, so it is in no message.
        where: The object's address, for messages.
        size: Bytes written so far.
    """

    def __init__(self, session: str, retry: RequestRetry, where: str) -> None:
        """Go on with a session that ``create_resumable_upload_session`` has begun."""
        from google.auth.credentials import AnonymousCredentials
        from google.auth.transport.requests import AuthorizedSession

        self.session = session
        self.where = where
        self.size = 0
        self._http = AuthorizedSession(AnonymousCredentials())  # a session's address is its own credential
        equip_session(self._http)
        self._retry = retry
        self._buffer = bytearray()  # the bytes from offset ``_stored`` on
        self._stored = 0  # bytes that the server has
        self._crc = 0
        self._stored_is_known = True  # False after a failure, until the server has said what it has

    @property
    def crc32c(self) -> str:
        """The checksum of the bytes written so far, in base64."""
        return crc32c_text(self._crc)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the object, and send what fills a part; raises what the library raises."""
        import google_crc32c

        self._crc = google_crc32c.extend(self._crc, chunk)
        self.size += len(chunk)
        self._buffer += chunk
        while len(self._buffer) > PART:  # the last part is never empty, so it always ends the upload by itself
            self._retry.call(lambda: self._send_part(last=False))

    def finish(self) -> UploadedObject | None:
        """Send the rest and publish; None where another object has the name by now.

        Raises:
            SessionGone: The server does not know the upload.
            SlipwayError: ``DigestMismatch`` where the server received other bytes.
        """
        from google.api_core.exceptions import PreconditionFailed

        stored: UploadedObject | None = None
        try:
            while stored is None:
                stored = self._retry.call(lambda: self._send_part(last=True))
        except PreconditionFailed:
            return None
        return stored

    def cancel(self) -> None:
        """Tell the server to drop the session now and not in a week; nothing of it was visible."""
        with contextlib.suppress(Exception):
            self._http.delete(self.session, timeout=TIMEOUT)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send_part(self, *, last: bool) -> UploadedObject | None:
        """Send one part, after a failure only what the server is missing; the object's metadata once it has everything."""
        from google.api_core.exceptions import ServiceUnavailable

        if not self._stored_is_known:
            if (stored := self._put(b"", "*/*")) is not None:
                return stored
            self._stored_is_known = True
            if not last and len(self._buffer) <= PART:
                return None
        self._stored_is_known = False
        part = bytes(memoryview(self._buffer)[:PART])
        start, end = self._stored, self._stored + len(part)
        total = self.size if last and len(part) == len(self._buffer) else None
        span = f"{start}-{end - 1}" if part else "*"
        stored = self._put(part, f"{span}/{'*' if total is None else total}", final=total is not None)
        if stored is None and self._stored == start:
            raise ServiceUnavailable("the server kept nothing of what was sent")
        self._stored_is_known = True
        return stored

    def _put(self, part: bytes, content_range: str, *, final: bool = False) -> UploadedObject | None:
        """One request; None where the server expects more bytes, of which it then has ``_stored``."""
        from google.api_core.exceptions import from_http_response, from_http_status

        headers = {"Content-Range": f"bytes {content_range}"}
        if final:
            headers["X-Goog-Hash"] = f"crc32c={self.crc32c}"  # the server refuses to publish anything else
        response = self._http.put(self.session, data=part, headers=headers, timeout=TIMEOUT, allow_redirects=False)
        if response.status_code in (200, 201):
            metadata = response.json()
            return UploadedObject(generation=str(metadata["generation"]), crc32c=str(metadata["crc32c"]))
        if response.status_code == 308:
            kept = re.fullmatch(r"bytes=0-(\d+)", response.headers.get("Range", ""))
            stored = int(kept[1]) + 1 if kept else 0
            if self._stored <= stored <= self._stored + len(self._buffer):
                del self._buffer[: stored - self._stored]
                self._stored = stored
                return None
        if response.status_code == 400 and "crc32c" in response.text.lower():
            raise SlipwayError(Reason.DIGEST_MISMATCH, f"{self.where} was damaged during the upload.")
        if response.status_code in (308, 404, 410):
            raise SessionGone(Reason.STORE_BUSY, f"The server has dropped the upload of {self.where}.")
        message = from_http_response(response).message.partition(": ")[2]  # without the session's address
        raise from_http_status(response.status_code, f"PUT: {message}", response=response)


def crc32c_text(crc: int) -> str:
    """Write a checksum as the API does: base64 of its four bytes, the highest first."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()

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
from typing import Any

from steps.core.errors import Reason, SlipwayError
from steps.net.retry import TIMEOUT, Patience

PART = 8 << 20  # bytes a request; a multiple of 256 KiB, as the protocol demands


class Lost(SlipwayError):
    """The server knows nothing of the session: it has forgotten it, or refused to publish it already."""


class Upload:
    """Bytes on their way to ``session``, the address that ``create_resumable_upload_session`` gave; ``where`` names it."""

    def __init__(self, session: str, patience: Patience, where: str) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.auth.transport.requests import AuthorizedSession

        self.session = session
        self.where = where
        self.size = 0
        self._http = AuthorizedSession(AnonymousCredentials())  # a session's address is its own credential
        self._next = patience(self._attempt)
        self._held = bytearray()  # bytes from offset ``_sent`` on
        self._sent = 0
        self._crc = 0
        self._unsure = False

    @property
    def crc32c(self) -> str:
        return crc32c_text(self._crc)

    def write(self, chunk: bytes) -> None:
        import google_crc32c

        self._crc = google_crc32c.extend(self._crc, chunk)
        self.size += len(chunk)
        self._held += chunk
        while len(self._held) > PART:  # the last part is never empty, so it always ends the upload by itself
            self._next(last=False)

    def finish(self) -> dict[str, Any] | None:
        """Publish; the object's metadata, or None where another object has the name by now."""
        from google.api_core.exceptions import PreconditionFailed

        stored: dict[str, Any] | None = None
        try:
            while stored is None:
                stored = self._next(last=True)
        except PreconditionFailed:
            return None
        return stored

    def cancel(self) -> None:
        """Nothing of the upload was visible; the server forgets it now instead of in a week."""
        with contextlib.suppress(Exception):
            self._http.delete(self.session, timeout=TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def _attempt(self, last: bool) -> dict[str, Any] | None:
        """Send one part, after a failure only what the server lacks; the object's metadata once it has everything."""
        from google.api_core.exceptions import ServiceUnavailable

        if self._unsure:
            if (stored := self._send(b"", "*/*")) is not None:
                return stored
            self._unsure = False
            if not last and len(self._held) <= PART:
                return None
        self._unsure = True
        part = bytes(memoryview(self._held)[:PART])
        start, end = self._sent, self._sent + len(part)
        total = self.size if last and len(part) == len(self._held) else None
        span = f"{start}-{end - 1}" if part else "*"
        stored = self._send(part, f"{span}/{'*' if total is None else total}", final=total is not None)
        if stored is None and self._sent == start:
            raise ServiceUnavailable("the server kept nothing of what was sent")
        self._unsure = False
        return stored

    def _send(self, part: bytes, span: str, *, final: bool = False) -> dict[str, Any] | None:
        from google.api_core.exceptions import from_http_response, from_http_status

        headers = {"Content-Range": f"bytes {span}"}
        if final:
            headers["X-Goog-Hash"] = f"crc32c={self.crc32c}"  # the server refuses to publish anything else
        answer = self._http.put(self.session, data=part, headers=headers, timeout=TIMEOUT, allow_redirects=False)
        if answer.status_code in (200, 201):
            return dict(answer.json())
        if answer.status_code == 308:
            kept = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
            sent = int(kept[1]) + 1 if kept else 0
            if self._sent <= sent <= self._sent + len(self._held):
                del self._held[: sent - self._sent]
                self._sent = sent
                return None
        if answer.status_code == 400 and "crc32c" in answer.text.lower():
            raise SlipwayError(Reason.DIGEST_MISMATCH, f"{self.where} was damaged on its way to the bucket.")
        if answer.status_code in (308, 404, 410):
            raise Lost(Reason.STORE_BUSY, f"The server has lost the upload of {self.where}.")
        # Without the address: whoever knows it may write to the session.
        said = from_http_response(answer).message.partition(": ")[2]
        raise from_http_status(answer.status_code, f"PUT: {said}", response=answer)


def crc32c_text(crc: int) -> str:
    """A checksum as the API writes it: base64 of its four bytes, the highest first."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()

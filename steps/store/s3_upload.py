"""A multipart upload to S3: parts are sent while the stream goes on, and published by one request at its end, or not at all.

What fits one part is one ``PutObject``. Both are published under ``If-None-Match: *``, so only the first writer publishes
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). Where the answer did not arrive, the object's
metadata tell whether it is this writer's: a refused condition alone would not.

The server checks a CRC32C of each part and, where it knows full-object checksums, of the whole before it publishes
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

from steps.core.errors import Reason, SlipwayError
from steps.store.ranged import PART, WINDOW
from steps.store.request_retry import RequestRetry
from steps.store.s3_checksum import checksum_text
from steps.store.s3_client import ClientError, S3Client, code_of, status_of

WRITER = "slipway-writer"  # the name of the metadata
# S3 takes 10 000 parts. They stay equal, as some servers demand, up to 31 GiB, and reach 1 TiB with parts of 512 MiB.
EQUAL_PARTS, DOUBLED_EVERY = 4000, 1000
ABORT_BUDGET = 10.0  # seconds of trying to abort an upload

# After these, only a look at the object tells who has published: the condition failed, another writer is at it, or an
# earlier answer did not arrive and the upload is over.
_UNDECIDED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload"}


@dataclass(frozen=True)
class _Part:
    """A part that the server has; ``crc32c`` is over its ``size`` bytes."""

    number: int
    etag: str
    crc32c: int
    size: int


class MultipartUpload:
    """One object's bytes, sent in parts.

    Attributes:
        where: The object's address, for messages.
        size: Bytes written so far.
    """

    def __init__(self, client: S3Client, retry: RequestRetry, target: dict[str, str], where: str) -> None:
        """Upload to ``target``, a bucket and a key as ``client`` takes them. Nothing is sent yet."""
        self.where = where
        self.size = 0
        self._client = client
        self._retry = retry
        self._target = target
        self._writer = secrets.token_hex(16)
        self._buffer = bytearray()
        self._crc = 0  # of the parts in ``_parts``
        self._stopped = threading.Event()
        self._upload: dict[str, str] = {}  # the target and the upload's id, once it has begun
        self._checks_whole = False
        self._parts: list[_Part] = []  # in order
        self._pending: deque[Future[_Part]] = deque()
        self._begun_parts = 0

    @property
    def crc32c(self) -> str:
        """After ``finish``: the checksum of the whole object, in base64."""
        return checksum_text(self._crc)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the object, and send what fills a part; raises what botocore raises."""
        self.size += len(chunk)
        self._buffer += chunk
        while len(self._buffer) > (size := part_size(self._begun_parts + 1)):  # the last part is never empty
            part = bytes(memoryview(self._buffer)[:size])
            del self._buffer[:size]
            self._begin_part(part)

    def finish(self) -> bool:
        """Send the rest and publish; False where another object has the key by now.

        Raises:
            SlipwayError: ``StoreBusy`` where the server does not know the upload any more.
        """
        part = bytes(self._buffer)
        self._buffer.clear()
        if not self._upload:
            return self._put(part)
        self._begin_part(part)
        while self._pending:
            self._wait_for_part()
        return self._complete()

    def cancel(self) -> None:
        """Abort the upload, so that the server frees its space; nothing of it was visible."""
        self.close()
        if self._upload:
            with contextlib.suppress(Exception):
                self._retry.limited(ABORT_BUDGET)(self._client.abort_multipart_upload)(**self._upload)

    def close(self) -> None:
        """Wait until no part is being sent any more: one that arrived after the abort would stay."""
        self._stopped.set()
        if self._upload:
            self._pool.shutdown(cancel_futures=True)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(WINDOW, thread_name_prefix="upload")

    def _begin_part(self, data: bytes) -> None:
        if not self._upload:
            upload = self._retry(self._client.create_multipart_upload)(
                **self._target,
                ContentType="application/octet-stream",
                Metadata={WRITER: self._writer},
                ChecksumAlgorithm="CRC32C",
                ChecksumType="FULL_OBJECT",
            )
            self._upload = {**self._target, "UploadId": upload["UploadId"]}
            self._checks_whole = upload.get("ChecksumType") == "FULL_OBJECT"
        if len(self._pending) >= WINDOW:
            self._wait_for_part()
        self._begun_parts += 1
        number = self._begun_parts
        self._pending.append(self._pool.submit(self._retry.call, lambda: self._send_part(number, data), self._stopped))

    def _send_part(self, number: int, data: bytes) -> _Part:
        from awscrt import checksums

        crc = checksums.crc32c(data)
        stored = self._client.upload_part(
            **self._upload,
            PartNumber=number,
            Body=data,
            ContentLength=len(data),
            ChecksumAlgorithm="CRC32C",
            ChecksumCRC32C=checksum_text(crc),
        )
        return _Part(number, stored["ETag"], crc, len(data))

    def _wait_for_part(self) -> None:
        """Wait for the oldest part that is being sent."""
        from awscrt import checksums

        part = self._pending.popleft().result()
        self._crc = checksums.combine_crc32c(self._crc, part.crc32c, part.size)
        self._parts.append(part)

    def _put(self, data: bytes) -> bool:
        """Publish the whole object by one request; whether it is this writer's."""
        from awscrt import checksums
        from botocore.exceptions import ClientError as RefusedRequest

        self._crc = checksums.crc32c(data)
        try:
            self._retry(self._client.put_object)(
                **self._target,
                Body=data,
                ContentType="application/octet-stream",
                Metadata={WRITER: self._writer},
                IfNoneMatch="*",
                ChecksumAlgorithm="CRC32C",
                ChecksumCRC32C=self.crc32c,
            )
        except RefusedRequest as error:
            if code_of(error) not in _UNDECIDED:
                raise
            return self._is_published_by_this_writer(error)
        return True

    def _complete(self) -> bool:
        """Publish the parts; whether the object is this writer's."""
        from botocore.exceptions import ClientError as RefusedRequest

        whole = {"ChecksumCRC32C": self.crc32c, "ChecksumType": "FULL_OBJECT"} if self._checks_whole else {}
        parts = [
            {"PartNumber": part.number, "ETag": part.etag, "ChecksumCRC32C": checksum_text(part.crc32c)} for part in self._parts
        ]
        try:
            self._retry(self._client.complete_multipart_upload)(
                **self._upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*", **whole
            )
        except RefusedRequest as error:
            if code_of(error) not in _UNDECIDED:
                raise
            published = self._is_published_by_this_writer(error)
            if not published:
                self.cancel()
            return published
        return True

    def _is_published_by_this_writer(self, refusal: ClientError) -> bool:
        """Look at the object's metadata; ``StoreBusy`` where there is no object."""
        from botocore.exceptions import ClientError as RefusedRequest

        try:
            found = self._retry(self._client.head_object)(**self._target)
        except RefusedRequest as error:
            if status_of(error) != 404:
                raise
            raise SlipwayError(
                Reason.STORE_BUSY, f"The server has dropped the upload of {self.where}: {code_of(refusal)}."
            ) from error
        return found["Metadata"].get(WRITER) == self._writer


def part_size(number: int) -> int:
    """Return the bytes of part ``number`` (from 1), unless it is the last."""
    return PART << max(0, -(-(number - EQUAL_PARTS) // DOUBLED_EVERY))

"""A multipart upload to S3: parts in flight while the stream goes on, published by one request at its end, or not at all.

What fits one part is one ``PutObject``. Both ways publish under ``If-None-Match: *``, so only the first writer gets in
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). Where an answer was lost, the object's
metadata tell whether it is this writer's: a refused condition alone would not.

The server checks a CRC32C of each part and, where it knows full-object checksums, of the whole before it publishes
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

from steps.core.errors import Reason, SlipwayError
from steps.net.retry import Patience
from steps.store.ranged import PART, WINDOW

WRITER = "slipway-writer"  # the name of the metadata
# S3 takes 10 000 parts. They stay equal, as some servers demand, up to 31 GiB, and reach 1 TiB with parts of 512 MiB.
EQUAL_PARTS, DOUBLED_EVERY = 4000, 1000
ABORTING = 10.0  # seconds of trying to take back what will not be published

# After these, only a look at the object tells who has published: the condition failed, another writer is at it, or an
# earlier answer was lost and the upload is over.
_SETTLED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload"}


class Upload:
    """Bytes on their way to ``target``, a bucket and a key as ``client`` takes them; ``where`` names it."""

    def __init__(self, client: Any, patience: Patience, target: dict[str, str], where: str) -> None:
        self.where = where
        self.size = 0
        self._client = client
        self._patience = patience
        self._target = target
        self._writer = secrets.token_hex(16)
        self._held = bytearray()
        self._crc = 0
        self._stopped = threading.Event()
        self._upload: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []  # in order
        self._flying: deque[Future[dict[str, Any]]] = deque()
        self._sent = 0

    @property
    def crc32c(self) -> str:
        return crc_text(self._crc, 4)

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._held += chunk
        while len(self._held) > (size := part_size(self._sent + 1)):  # the last part is never empty
            part = bytes(memoryview(self._held)[:size])
            del self._held[:size]
            self._send(part)

    def finish(self) -> bool:
        """Publish; False where another object has the key by now."""
        part = bytes(self._held)
        self._held.clear()
        if not self._upload:
            return self._put(part)
        self._send(part)
        while self._flying:
            self._land()
        return self._complete()

    def cancel(self) -> None:
        """Nothing of the upload was visible; the server gives its room back."""
        self.close()
        if self._upload:
            with contextlib.suppress(Exception):
                patience = Patience(min(ABORTING, self._patience.seconds), self._patience.asked)
                patience(self._client.abort_multipart_upload)(**self._upload)

    def close(self) -> None:
        """No part is on its way any more: one that arrived after the abort would stay."""
        self._stopped.set()
        if self._upload:
            self._pool.shutdown(cancel_futures=True)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(WINDOW, thread_name_prefix="upload")

    def _send(self, part: bytes) -> None:
        if not self._upload:
            begun = self._patience(self._client.create_multipart_upload)(
                **self._target,
                ContentType="application/octet-stream",
                Metadata={WRITER: self._writer},
                ChecksumAlgorithm="CRC32C",
                ChecksumType="FULL_OBJECT",
            )
            self._upload = {**self._target, "UploadId": begun["UploadId"]}
            self._checks_whole = begun.get("ChecksumType") == "FULL_OBJECT"
        if len(self._flying) >= WINDOW:
            self._land()
        self._sent += 1
        self._flying.append(self._pool.submit(self._patience(self._fly, self._stopped), self._sent, part))

    def _fly(self, number: int, part: bytes) -> dict[str, Any]:
        from awscrt import checksums

        crc = checksums.crc32c(part)
        stored = self._client.upload_part(
            **self._upload,
            PartNumber=number,
            Body=part,
            ContentLength=len(part),
            ChecksumAlgorithm="CRC32C",
            ChecksumCRC32C=crc_text(crc, 4),
        )
        return {"PartNumber": number, "ETag": stored["ETag"], "crc": crc, "size": len(part)}

    def _land(self) -> None:
        from awscrt import checksums

        part = self._flying.popleft().result()
        crc = part.pop("crc")
        self._crc = checksums.combine_crc32c(self._crc, crc, part.pop("size"))
        self._parts.append({**part, "ChecksumCRC32C": crc_text(crc, 4)})

    def _put(self, data: bytes) -> bool:
        from awscrt import checksums
        from botocore.exceptions import ClientError

        self._crc = checksums.crc32c(data)
        try:
            self._patience(self._client.put_object)(
                **self._target,
                Body=data,
                ContentType="application/octet-stream",
                Metadata={WRITER: self._writer},
                IfNoneMatch="*",
                ChecksumAlgorithm="CRC32C",
                ChecksumCRC32C=self.crc32c,
            )
        except ClientError as error:
            return self._settle(error)
        return True

    def _complete(self) -> bool:
        from botocore.exceptions import ClientError

        whole = {"ChecksumCRC32C": self.crc32c, "ChecksumType": "FULL_OBJECT"} if self._checks_whole else {}
        try:
            self._patience(self._client.complete_multipart_upload)(
                **self._upload, MultipartUpload={"Parts": self._parts}, IfNoneMatch="*", **whole
            )
        except ClientError as error:
            ours = self._settle(error)
            if not ours:
                self.cancel()
            return ours
        return True

    def _settle(self, error: Any) -> bool:
        """Whether the object is ours, after an answer that does not say it."""
        from botocore.exceptions import ClientError

        if error.response["Error"]["Code"] not in _SETTLED:
            raise error
        try:
            found = self._patience(self._client.head_object)(**self._target)
        except ClientError as absent:
            if absent.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            raise SlipwayError(Reason.STORE_BUSY, f"The server has lost the upload of {self.where}.") from error
        return bool(found["Metadata"].get(WRITER) == self._writer)


def part_size(number: int) -> int:
    """Bytes of part ``number`` (from 1), unless it is the last."""
    return PART << max(0, -(-(number - EQUAL_PARTS) // DOUBLED_EVERY))


def crc_text(crc: int, length: int) -> str:
    """A checksum as the headers write it: base64 of its ``length`` bytes, the highest first."""
    return base64.b64encode(crc.to_bytes(length, "big")).decode()

"""What S3 refuses a request for, with a reason and a hint that its user can follow.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList; what other servers answer besides is named at
its place. Whether a refusal may pass is ``s3_client.transient``'s to say.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from steps.core.errors import Reason, SlipwayError

LOGIN = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or run under a role that may use the bucket."
_BAD_CREDENTIALS = {"InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_ANOTHER_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "IncorrectEndpoint",
}
# Ceph's and MinIO's names for a quota that is used up, and MinIO's for full disks.
_FULL = {"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage"}
_KMS_PERMISSION = re.compile(r"kms:\w+")


def explained_refusal(
    code: str, status: int, error: Mapping[str, str], headers: Mapping[str, str], bucket: str, where: str
) -> SlipwayError | None:
    """Return the error for a refusal with a cause of its own; None for one that its status alone explains.

    Args:
        code: S3's name for it.
        status: Its HTTP status.
        error: The fields of the answer's ``Error``.
        headers: The answer's headers, in lower case.
        bucket: The bucket's name.
        where: The address that the request was about.
    """
    message = f"HTTP {status}: {error.get('Message') or code}"

    def refused(reason: Reason, text: str, hint: str) -> SlipwayError:
        return SlipwayError(reason, f"{text} ({message}).", hint=hint)

    if code == "InvalidObjectState":
        name = shlex.quote(where.partition(f"//{bucket}/")[2])
        return refused(
            Reason.STORE_UNREADABLE,
            f"{where} lies in the archive {error.get('StorageClass') or 'class of its bucket'} and cannot be read before it is "
            "restored",
            f"Restore it, wait until that is done, and run again: aws s3api restore-object --bucket {bucket} --key {name} "
            "--restore-request Days=7",
        )
    if code in _ANOTHER_REGION or status == 301:
        region = error.get("Region") or headers.get("x-amz-bucket-region", "")
        there = f"in the region {region}" if region else "in another region, or behind another endpoint"
        hint = f"Set AWS_REGION={region or 'to its region'}; with AWS_ENDPOINT_URL set, check that, too."
        return refused(Reason.STORE_UNREADABLE, f"The bucket {bucket} is {there}", hint)
    if code == "RequestTimeTooSkewed":
        return refused(
            Reason.ACCESS_DENIED,
            f"The clock of this machine is wrong, so requests for {where} are refused",
            "Set the clock, for instance with `timedatectl set-ntp true`, and run again. The credentials may be right.",
        )
    if code in _EXPIRED:
        hint = f"Get new ones, for instance with `aws sso login`, and run again. {LOGIN}"
        return refused(Reason.ACCESS_DENIED, f"The credentials for {where} have expired", hint)
    if code in _BAD_CREDENTIALS:
        return refused(Reason.ACCESS_DENIED, f"Access to {where} is denied", LOGIN)
    if "requester pays" in message.lower() or code == "UserProjectMissing":
        hint = "Slipway does not pay for requests to the bucket of somebody else: copy what you need to a bucket of your own."
        return refused(Reason.ACCESS_DENIED, f"The bucket {bucket} wants whoever sends a request to pay for it", hint)
    if code.startswith("KMS.") or _KMS_PERMISSION.search(message):
        permission = found.group() if (found := _KMS_PERMISSION.search(message)) else ""
        if status == 403 or permission:
            needed = permission or "kms:GenerateDataKey and kms:Decrypt"
            hint = f"Grant {needed} on the key that encrypts the bucket {bucket} to the account that runs this."
            return refused(Reason.ACCESS_DENIED, f"The key that encrypts {where} may not be used", hint)
        hint = f"Enable the key that encrypts the bucket {bucket}, or encrypt the bucket with another one."
        return refused(Reason.STORE_UNREADABLE, f"The key that encrypts {where} cannot be used", hint)
    if "object lock" in message.lower() or "worm protected" in message.lower():
        hint = "Slipway replaces its records (receipts/, runs/): use a bucket, or a prefix, without a default retention."
        return refused(Reason.STORE_UNREADABLE, f"{where} is locked against changes", hint)
    if code in _FULL or status == 507:
        return refused(Reason.DISK_FULL, f"The bucket {bucket} is full", "Free space in the bucket, or raise its quota.")
    if code == "EntityTooLarge":
        hint = "Raise the server's limit of the size of an object, or use another store."
        return refused(Reason.TOO_LARGE, f"{where} is larger than the server takes", hint)
    return None

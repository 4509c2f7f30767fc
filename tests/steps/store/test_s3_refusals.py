"""Each refusal of S3 has a reason and a hint that its user can follow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.store.s3 import S3Prefix, S3Store
from steps.store.s3_refusals import explained_refusal
from tests.servers.faulty_server import Fault
from tests.servers.s3_server import S3Server

WHERE = "s3://models/a/my model.safetensors"
CASES = {
    "archived": (403, {"Code": "InvalidObjectState", "StorageClass": "DEEP_ARCHIVE"}, Reason.STORE_UNREADABLE, "DEEP_ARCHIVE"),
    "restore": (
        403,
        {"Code": "InvalidObjectState"},
        Reason.STORE_UNREADABLE,
        "restore-object --bucket models --key 'a/my model",
    ),
    "region": (
        400,
        {"Code": "AuthorizationHeaderMalformed", "Region": "eu-west-1"},
        Reason.STORE_UNREADABLE,
        "AWS_REGION=eu-west-1",
    ),
    "moved": (301, {"Code": "PermanentRedirect"}, Reason.STORE_UNREADABLE, "AWS_REGION="),
    "clock": (403, {"Code": "RequestTimeTooSkewed"}, Reason.ACCESS_DENIED, "clock"),
    "expired": (400, {"Code": "ExpiredToken"}, Reason.ACCESS_DENIED, "aws sso login"),
    "key id": (403, {"Code": "InvalidAccessKeyId"}, Reason.ACCESS_DENIED, "AWS_PROFILE"),
    "payer": (403, {"Code": "AccessDenied", "Message": "Bucket is Requester Pays."}, Reason.ACCESS_DENIED, "does not pay"),
    "key": (
        403,
        {"Code": "AccessDenied", "Message": "x is not authorized to perform: kms:GenerateDataKey on resource: y"},
        Reason.ACCESS_DENIED,
        "Grant kms:GenerateDataKey",
    ),
    "key is off": (
        400,
        {"Code": "KMS.DisabledException", "Message": "The key is off."},
        Reason.STORE_UNREADABLE,
        "Enable the key",
    ),
    "locked": (400, {"Code": "InvalidRequest", "Message": "Object is WORM protected"}, Reason.STORE_UNREADABLE, "retention"),
    "quota": (403, {"Code": "QuotaExceeded"}, Reason.DISK_FULL, "quota"),
    "full": (507, {"Code": "XMinioStorageFull"}, Reason.DISK_FULL, "Free space"),
    "too large": (400, {"Code": "EntityTooLarge"}, Reason.TOO_LARGE, "limit"),
}


@pytest.mark.fault("refused")
@pytest.mark.parametrize(("status", "error", "reason", "says"), CASES.values(), ids=CASES)
def test_a_refusal_is_explained(status: int, error: dict[str, str], reason: Reason, says: str) -> None:
    found = explained_refusal(error["Code"], status, error, {}, "models", WHERE)
    assert found is not None
    assert found.reason is reason
    assert says in f"{found.message} {found.hint}"
    assert "models" in f"{found.message} {found.hint}"
    assert f"HTTP {status}" in found.message


def test_other_refusals_are_left_to_their_status() -> None:
    for status, code in ((403, "AccessDenied"), (404, "NoSuchKey"), (503, "SlowDown")):
        assert explained_refusal(code, status, {"Code": code, "Message": "no"}, {}, "models", WHERE) is None


@pytest.mark.slow
@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("RequestTimeTooSkewed", 403, "timedatectl"),
        ("ExpiredToken", 400, "aws sso login"),
        ("KMS.DisabledException", 400, "key"),
    ],
)
def test_a_head_without_a_body_is_explained(s3: S3Server, code: str, status: int, says: str) -> None:
    s3.faults += [Fault(method, ".", status=status, code=code, times=99) for method in ("HEAD", "GET")]
    with pytest.raises(SlipwayError) as caught:
        S3Store(S3Prefix("models", "a")).size("k")
    assert says in caught.value.hint


@pytest.mark.slow
@pytest.mark.fault("refused")
def test_an_archived_object_is_told_to_whoever_reads(s3: S3Server) -> None:
    s3.store("models", "a/config.json", b"{}")
    prefix = S3Prefix("models", "a")
    [found] = prefix.objects()
    s3.faults.append(Fault("GET", "config.json", status=403, code="InvalidObjectState", times=99))
    uses: list[Callable[[], object]] = [
        lambda: b"".join(prefix.read(found)),
        lambda: b"".join(S3Store(prefix).read("config.json")),
    ]
    for use in uses:
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.STORE_UNREADABLE
        assert "restore-object --bucket models --key a/config.json" in caught.value.hint

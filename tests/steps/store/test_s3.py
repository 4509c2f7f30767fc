"""What only S3 has: its checksums, conditions and refusals, the ways to credentials, and users' own objects."""

from __future__ import annotations

import base64
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from awscrt import checksums

from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.net.retry import RetryPolicy
from steps.store.ranged import PART
from steps.store.s3 import S3Prefix, S3Store
from steps.store.s3_upload import part_size
from tests.servers.faulty_server import Effect, Fault
from tests.servers.s3_server import S3Server, Stored

pytestmark = pytest.mark.slow  # making a client takes botocore a quarter of a second
KEY = "files/model.safetensors"
DATA = Random(1).randbytes(2 * PART + 4321)
ROOT = Path(__file__).parents[3]
ONE, COMPLETE = ("PUT", "/model.safetensors$"), ("POST", r"\?uploadId=")

# Too short for a second try.
BRIEF = RetryPolicy(attempts=2, first=0.1)


@pytest.fixture
def store(s3: S3Server) -> S3Store:
    return S3Store(S3Prefix("models", "store"))


def stream(data: bytes = DATA) -> Iterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


def found(s3: S3Server) -> Stored | None:
    return s3.buckets["models"].get(f"store/{KEY}")


def uses(store: S3Store) -> dict[str, object]:
    """Each way to use a store, with the permission that it needs."""
    return {
        "s3:GetObject": lambda: store.size(KEY),
        "s3:PutObject": lambda: store.write(KEY, b"x"),
        "s3:ListBucket": lambda: list(store.list("")),
    }


def test_a_conflict_of_one_request_is_transient(s3: S3Server, store: S3Store) -> None:
    s3.faults.append(conflict := Fault(*ONE, status=409, code="ConditionalRequestConflict"))
    assert store.put(KEY, [b"one part"]) is True
    assert conflict.times == 0


def test_a_conflict_of_parts_looks_at_the_object(s3: S3Server, store: S3Store) -> None:
    conflict = Fault(*COMPLETE, status=409, code="ConditionalRequestConflict")
    s3.faults.append(conflict)
    with pytest.raises(SlipwayError) as caught:
        store.put(KEY, stream())
    assert caught.value.reason is Reason.STORE_BUSY
    assert s3.uploads == {}
    conflict.times, conflict.before = 1, lambda: s3.store("models", f"store/{KEY}", DATA)
    assert store.put(KEY, stream()) is False
    assert s3.uploads == {}


def test_a_dropped_upload_is_busy(s3: S3Server, store: S3Store) -> None:
    s3.faults.append(Fault(*COMPLETE, status=404, code="NoSuchUpload", before=s3.uploads.clear))
    with pytest.raises(SlipwayError) as caught:
        store.put(KEY, stream())
    assert caught.value.reason is Reason.STORE_BUSY
    assert found(s3) is None


def test_aborting_an_upload_is_tried_again(s3: S3Server, store: S3Store) -> None:
    def breaks() -> Iterator[bytes]:
        yield from stream()
        raise RuntimeError("mine")

    s3.faults.append(fault := Fault("DELETE", "uploadId="))
    with pytest.raises(RuntimeError, match="mine"):
        store.put(KEY, breaks())
    assert fault.times == 0
    assert s3.uploads == {}


def test_a_server_out_of_reach_is_busy(s3: S3Server) -> None:
    hasty = S3Store(S3Prefix("models", "store", policy=BRIEF))
    for request in (("HEAD", "."), ("POST", r"\?uploads"), ("PUT", "partNumber"), COMPLETE):
        for effect in (Effect.ANSWER, Effect.DROP):
            s3.faults[:] = [Fault(*request, effect, times=99)]
            with pytest.raises(SlipwayError) as caught:
                hasty.put(KEY, stream())
            assert caught.value.reason is Reason.STORE_BUSY
            assert found(s3) is None
            assert s3.uploads == {}


def test_a_server_that_is_not_there_is_busy(aws: pytest.MonkeyPatch) -> None:
    with S3Server() as gone:
        aws.setenv("AWS_ENDPOINT_URL", gone.url)
    with pytest.raises(SlipwayError) as caught:
        S3Store(S3Prefix("models", policy=BRIEF)).size(KEY)
    assert caught.value.reason is Reason.STORE_BUSY


@pytest.mark.parametrize("permission", ["s3:GetObject", "s3:PutObject", "s3:ListBucket"])
def test_a_denied_request_names_permission_and_bucket(s3: S3Server, store: S3Store, permission: str) -> None:
    s3.faults += [Fault(method, ".", status=403, code="AccessDenied", times=99) for method in ("GET", "HEAD", "PUT")]
    with pytest.raises(SlipwayError) as caught:
        uses(store)[permission]()  # type: ignore[operator]
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert permission in caught.value.hint
    assert "models" in caught.value.hint


def test_expired_credentials_ask_for_a_login(s3: S3Server, store: S3Store) -> None:
    s3.faults.append(Fault("PUT", ".", status=400, code="ExpiredToken"))
    with pytest.raises(SlipwayError) as caught:
        store.write(KEY, b"x")
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "AWS_PROFILE" in caught.value.hint


def test_a_missing_bucket_gets_a_command(s3: S3Server) -> None:
    store = S3Store(S3Prefix("absent", "store"))
    for use in (*uses(store).values(), lambda: b"".join(store.read(KEY)), lambda: store.put(KEY, [b"x"])):
        with pytest.raises(SlipwayError) as caught:
            use()  # type: ignore[operator]
        assert caught.value.reason is Reason.STORE_UNREADABLE
        assert "aws s3 mb s3://absent" in caught.value.hint


def test_the_server_keeps_a_full_object_checksum(s3: S3Server, store: S3Store) -> None:
    store.put(KEY, stream())
    stored = found(s3)
    assert stored is not None
    assert (stored.kind, stored.checksum) == (
        "FULL_OBJECT",
        base64.b64encode(checksums.crc32c(DATA).to_bytes(4, "big")).decode(),
    )


@pytest.mark.parametrize("data", [b"some bytes", DATA], ids=["one part", "several parts"])
def test_bytes_that_rot_at_rest_are_noticed(s3: S3Server, store: S3Store, data: bytes) -> None:
    s3.faults.append(Fault(*(ONE if len(data) < PART else COMPLETE), Effect.ROT))
    assert store.put(KEY, stream(data)) is True
    with pytest.raises(SlipwayError) as caught:
        list(store.read(KEY))
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_a_server_with_composite_checksums_works(aws: pytest.MonkeyPatch) -> None:
    with S3Server("models", full_objects=False) as server:
        aws.setenv("AWS_ENDPOINT_URL", server.url)
        store = S3Store(S3Prefix("models", "store"))
        assert store.put(KEY, stream()) is True
        assert b"".join(store.read(KEY)) == DATA

        def meanwhile() -> Iterator[bytes]:  # nothing but the bytes tells that they are equal
            yield from stream()
            server.buckets["models"]["store/other"] = server.buckets["models"][f"store/{KEY}"]

        assert store.put("other", meanwhile()) is False


@pytest.mark.parametrize("algorithm", ["crc32", "crc64nvme"])
def test_other_checksums_are_checked_too(s3: S3Server, monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    def written(data: bytes) -> str:
        crc, length = (zlib.crc32(data), 4) if algorithm == "crc32" else (checksums.crc64nvme(data), 8)
        return base64.b64encode(crc.to_bytes(length, "big")).decode()

    prefix = S3Prefix("models")
    for name, data in (("sound", b"bytes"), ("rotten", b"bytez")):
        s3.store("models", name, b"bytes", checksum=written(data), algorithm=algorithm)
    sound, rotten = (each for name in ("sound", "rotten") for each in prefix.objects() if each.name == name)
    assert list(prefix.read(sound)) == [b"bytes"]
    with pytest.raises(SlipwayError) as caught:
        list(prefix.read(rotten))
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_objects_are_listed_and_folders_left_out(s3: S3Server) -> None:
    names = ["a b.txt", "config.json", "ünïcode/日本.txt", "deep/er/x#y?z.bin", "100%.txt", "a+b&c<d>.txt", "empty.txt"]
    for name in names:
        s3.store("models", f"up/loads/{name}", b"" if name == "empty.txt" else name.encode())
    for name in ("up/loads/", "up/loads/deep/", "up/other", "up/loadsmore"):
        s3.store("models", name, b"")
    prefix = S3Prefix.from_uri("s3://models/up/loads/")
    found = prefix.objects()
    assert [each.name for each in found] == sorted(names)
    for each in found:
        assert b"".join(prefix.read(each)) == (b"" if each.name == "empty.txt" else each.name.encode())


def test_reading_is_pinned_to_a_version(s3: S3Server) -> None:
    prefix = S3Prefix.from_uri("s3://models")
    s3.store("models", "weights", b"old")
    [old] = prefix.objects()
    s3.store("models", "weights", b"new")
    [new] = prefix.objects()
    assert old.fingerprint != new.fingerprint
    assert list(prefix.read(new)) == [b"new"]
    with pytest.raises(SlipwayError) as caught:
        list(prefix.read(old))
    assert caught.value.reason is Reason.STORE_UNREADABLE


def test_no_credentials_are_explained(s3: S3Server, aws: pytest.MonkeyPatch) -> None:
    aws.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SlipwayError) as caught:
        S3Store(S3Prefix("models")).size(KEY)
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_an_unknown_profile_is_explained(s3: S3Server, aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SlipwayError) as caught:
        S3Store(S3Prefix("models")).size(KEY)
    assert caught.value.reason is Reason.STORE_UNREADABLE
    assert "nobody" in caught.value.message


def test_aws_region_is_read(aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_REGION", "eu-central-1")
    assert S3Prefix("models").client.meta.region_name == "eu-central-1"
    aws.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert S3Prefix("models").client.meta.region_name == "eu-west-3"


def test_parts_grow_for_very_big_objects() -> None:
    assert {part_size(number) for number in range(1, 4001)} == {PART}
    assert part_size(4001) == 2 * PART
    assert sum(part_size(number) for number in range(1, 10_001)) > 1_000_000_000_000
    assert part_size(10_000) == 512 << 20


def test_a_missing_package_gets_an_install_command() -> None:
    scheme = "s3"
    use = (
        "import sys; sys.modules['botocore.session'] = None\n"  # what Python has for a module that cannot be imported
        "from steps.store.supported import open_store\n"
        "from steps.core.errors import SlipwayError\n"
        f"try: open_store('{scheme}://models').put('key', [b'x'])\n"
        "except SlipwayError as error: print(error.reason, error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, check=True)
    assert done.stdout == f"MissingDependency {missing_extra('s3').hint}\n"


def test_opening_a_store_imports_no_amazon_package() -> None:
    use = (
        "import sys; from steps.store.supported import open_store\n"
        "print(open_store('s3://models/a').locate('key'), any(name.startswith(('botocore', 'awscrt')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, check=True)
    assert done.stdout == "s3://models/a/key False\n"

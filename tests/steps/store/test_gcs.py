"""What only a bucket has: a network that fails, rights, checksums, preconditions, and users' own objects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.net.retry import RetryPolicy
from steps.store.gcs import GcsPrefix, GcsStore
from steps.store.gcs_upload import PART
from tests.servers.faulty_server import Effect, Fault
from tests.servers.gcs_server import QUANTUM, GcsServer

KEY = "files/model.safetensors"
DATA = Random(1).randbytes(2 * PART + 4321)
METADATA, MEDIA, BEGIN, SEND = r"/o/[^/?]+\?proj", "alt=media", "uploadType=resumable&?", "upload_id="

# Too short for a second try.
BRIEF = RetryPolicy(attempts=2, first=0.1)


@pytest.fixture
def store(gcs: GcsServer) -> GcsStore:
    return GcsStore(GcsPrefix("models", "store"))


@pytest.fixture
def hasty(gcs: GcsServer) -> GcsStore:
    """A store that gives up at once instead of after two minutes."""
    return GcsStore(GcsPrefix("models", "store", policy=BRIEF))


def stored(gcs: GcsServer, key: str = KEY) -> bytes | None:
    found = gcs.buckets["models"].get(f"store/{key}")
    return found.data if found else None


def stream(data: bytes = DATA) -> Iterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", METADATA),
        Fault("GET", METADATA, Effect.DROP),
        Fault("POST", BEGIN, status=429),
        Fault("POST", BEGIN, Effect.LOSE),
        Fault("PUT", SEND, status=500),
        Fault("PUT", SEND, Effect.DROP),
        Fault("PUT", SEND, Effect.LOSE),
        Fault("PUT", SEND, Effect.KEEP_A_PART),
    ],
    ids=lambda fault: f"{fault.method}-{fault.effect.name}",
)
def test_put_goes_on_after_a_failure(gcs: GcsServer, store: GcsStore, fault: Fault) -> None:
    gcs.faults.append(fault)
    assert store.put(KEY, stream()) is True
    assert fault.times == 0
    assert stored(gcs) == DATA


def test_put_without_the_last_answer_has_put(gcs: GcsServer, store: GcsStore) -> None:
    gcs.faults.append(fault := Fault("PUT", SEND, Effect.LOSE))
    assert store.put(KEY, [b"one part"]) is True
    assert fault.times == 0
    assert stored(gcs) == b"one part"


@pytest.mark.parametrize("effect", [Effect.LOSE, Effect.KEEP_A_PART], ids=lambda effect: effect.name)
def test_bytes_that_have_arrived_are_not_sent_again(gcs: GcsServer, store: GcsStore, effect: Effect) -> None:
    gcs.faults.append(Fault("PUT", SEND, effect))
    store.put(KEY, stream(DATA[: PART + 1]))
    lost = PART - QUANTUM if effect is Effect.KEEP_A_PART else 0
    assert sum(size for method, _, size in gcs.requests if method == "PUT") == PART + 1 + lost


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [Fault("GET", MEDIA), Fault("GET", MEDIA, Effect.DROP), Fault("GET", MEDIA, Effect.LOSE)],
    ids=lambda fault: fault.effect.name,
)
def test_read_goes_on_after_a_failure(gcs: GcsServer, store: GcsStore, fault: Fault) -> None:
    gcs.store("models", f"store/{KEY}", DATA)
    gcs.faults.append(fault)
    assert b"".join(store.read(KEY)) == DATA
    assert fault.times == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", METADATA, times=99),
        Fault("POST", BEGIN, times=99),
        Fault("PUT", SEND, times=99),
        Fault("PUT", SEND, Effect.DROP, times=99),
    ],
    ids=lambda fault: f"{fault.method}-{fault.effect.name}",
)
def test_a_server_out_of_reach_is_busy(gcs: GcsServer, hasty: GcsStore, fault: Fault) -> None:
    gcs.faults.append(fault)
    with pytest.raises(SlipwayError) as caught:
        hasty.put(KEY, stream())
    assert caught.value.reason is Reason.STORE_BUSY
    assert caught.value.reason.retryable
    assert "upload_id" not in str(caught.value)  # who knows a session's address may write to it
    assert stored(gcs) is None
    assert gcs.unfinished == []


def test_a_server_that_is_not_there_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    with GcsServer() as gone:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gone.url)
    with pytest.raises(SlipwayError) as caught:
        GcsStore(GcsPrefix("models", policy=BRIEF)).size(KEY)
    assert caught.value.reason is Reason.STORE_BUSY


@pytest.mark.parametrize("status", [401, 403])
def test_a_denied_request_names_bucket_and_role(gcs: GcsServer, store: GcsStore, status: int) -> None:
    gcs.store("models", f"store/{KEY}", DATA)
    gcs.faults += [Fault(method, ".", status=status, times=99) for method in ("GET", "POST")]
    for use in (
        lambda: store.size(KEY),
        lambda: b"".join(store.read(KEY)),
        lambda: store.put("other", [b"x"]),
        lambda: store.write("other", b"x"),
        lambda: list(store.list("")),
    ):
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.ACCESS_DENIED
        assert "roles/storage.objectUser" in caught.value.hint
        assert "models" in caught.value.hint


def test_a_missing_bucket_gets_a_command(gcs: GcsServer) -> None:
    store = GcsStore(GcsPrefix("absent", "store"))
    for use in (
        lambda: store.size(KEY),
        lambda: b"".join(store.read(KEY)),
        lambda: store.put(KEY, [b"x"]),
        lambda: store.write(KEY, b"x"),
        lambda: list(store.list("")),
    ):
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.STORE_UNREADABLE
        assert "buckets create gs://absent" in caught.value.hint


@pytest.mark.slow
def test_a_damaged_download_is_refused(gcs: GcsServer, store: GcsStore, tmp_path: Path) -> None:
    gcs.store("models", f"store/{KEY}", DATA)
    for use in (lambda: list(store.read(KEY)), lambda: store.copy_to(KEY, tmp_path / "copy")):
        gcs.faults.append(Fault("GET", MEDIA, Effect.CORRUPT))
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.DIGEST_MISMATCH
        assert f"gs://models/store/{KEY}" in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("effect", [Effect.CORRUPT, Effect.ROT], ids=lambda effect: effect.name)
def test_a_damaged_upload_leaves_nothing(gcs: GcsServer, store: GcsStore, effect: Effect) -> None:
    gcs.faults.append(Fault("PUT", SEND, effect))
    with pytest.raises(SlipwayError) as caught:
        store.put(KEY, [b"some bytes"])
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert stored(gcs) is None
    assert gcs.unfinished == []
    # What the server could refuse was never visible; what it had stored wrong has been deleted.
    deleted = any(method == "DELETE" and "/o/" in path for method, path, _ in gcs.requests)
    assert deleted is (effect is Effect.ROT)


def made_meanwhile(gcs: GcsServer, theirs: bytes) -> Iterator[bytes]:
    """A stream during which somebody else publishes ``theirs``."""
    yield DATA[:PART]
    gcs.store("models", f"store/{KEY}", theirs)
    yield DATA[PART:]


def test_another_writer_of_equal_bytes_is_accepted(gcs: GcsServer, store: GcsStore) -> None:
    assert store.put(KEY, made_meanwhile(gcs, DATA)) is False
    assert stored(gcs) == DATA
    assert gcs.unfinished == []


@pytest.mark.parametrize("theirs", [DATA[:-1], DATA[:-1] + b"\0"], ids=["other size", "other bytes"])
def test_another_writer_of_other_bytes_conflicts(gcs: GcsServer, store: GcsStore, theirs: bytes) -> None:
    with pytest.raises(SlipwayError) as caught:
        store.put(KEY, made_meanwhile(gcs, theirs))
    assert caught.value.reason is Reason.PUBLISH_CONFLICT
    assert stored(gcs) == theirs


def test_a_dropped_upload_is_busy(gcs: GcsServer, store: GcsStore) -> None:
    def forgotten() -> Iterator[bytes]:
        yield DATA[: PART + 1]
        gcs.sessions.clear()
        yield DATA[PART + 1 :]

    with pytest.raises(SlipwayError) as caught:
        store.put(KEY, forgotten())
    assert caught.value.reason is Reason.STORE_BUSY
    assert stored(gcs) is None


class ReplacingServer(GcsServer):
    """Replaces the object after its metadata was given and before its data is."""

    def fault(self, method: str, path: str, size: int) -> Fault | None:
        if "alt=media" in path and len(self.buckets["models"]["store/record"].data) < 10:
            self.store("models", "store/record", b"the new record")
        return super().fault(method, path, size)


def test_a_replaced_record_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with ReplacingServer("models") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        server.store("models", "store/record", b"the old")
        assert list(GcsStore(GcsPrefix("models", "store")).read("record")) == [b"the new record"]


def test_no_credentials_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(SlipwayError) as caught:
        GcsStore(GcsPrefix("models")).size(KEY)
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "gcloud auth application-default login" in caught.value.hint


def test_a_missing_package_gets_an_install_command() -> None:
    scheme = "gs"
    use = (
        "import sys; sys.modules['google.cloud.storage'] = None\n"  # what Python has for a module that cannot be imported
        "from steps.store.supported import open_store\n"
        "from steps.core.errors import SlipwayError\n"
        f"try: open_store('{scheme}://models').put('key', [b'x'])\n"
        "except SlipwayError as error: print(error.reason, error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, check=True)
    assert done.stdout == f"MissingDependency {missing_extra('gcp').hint}\n"


def test_opening_a_store_imports_no_google_package() -> None:
    use = (
        "import sys; from steps.store.supported import open_store\n"
        "print(open_store('gs://models/a').locate('key'), any(name.startswith('google.cloud') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, check=True)
    assert done.stdout == "gs://models/a/key False\n"


def test_objects_are_listed_and_folders_left_out(gcs: GcsServer) -> None:
    names = ["a b.txt", "config.json", "ünïcode/日本.txt", "deep/er/x#y?z.bin", "100%.txt", "model.safetensors"]
    for name in names:
        gcs.store("models", f"up/loads/{name}", name.encode())
    for name in ("up/loads/", "up/loads/deep/", "up/other", "up/loadsmore"):
        gcs.store("models", name, b"")
    prefix = GcsPrefix.from_uri("gs://models/up/loads/")
    found = prefix.objects()
    assert [each.name for each in found] == sorted(names)
    for each in found:
        assert b"".join(prefix.read(each)) == each.name.encode()
        assert each.size == len(each.name.encode())


def test_reading_is_pinned_to_a_version(gcs: GcsServer) -> None:
    prefix = GcsPrefix.from_uri("gs://models")
    gcs.store("models", "weights", b"old")
    old = prefix.find("weights")
    gcs.store("models", "weights", b"new")
    new = prefix.find("weights")
    assert old is not None
    assert new is not None
    assert old.fingerprint != new.fingerprint
    assert list(prefix.read(new)) == [b"new"]
    with pytest.raises(SlipwayError) as caught:
        list(prefix.read(old))
    assert caught.value.reason is Reason.STORE_UNREADABLE

"""What registries answer by the specification, and real ones do: relative addresses, redirects, types, challenges, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.images.registry.challenge import read_challenges
from steps.images.registry.reference import Reference
from steps.images.registry.repository import LAYER, MANIFEST, Descriptor, Repository, digest_of
from tests.conftest import FakeClock
from tests.servers.oci_registry import INDEX, STATE, OciRegistry
from tests.servers.oci_registry import digest_of as digest

DATA = b"a layer" * 1000
BLOB = Descriptor(LAYER, digest_of(DATA), len(DATA))


@pytest.fixture
def registry() -> Iterator[OciRegistry]:
    with OciRegistry() as registry:
        yield registry


@pytest.fixture
def opened(registry: OciRegistry, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Repository]]:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/nowhere/auth.json")
    opened: list[Repository] = []

    def open_repository() -> Repository:
        reference = Reference.parse(f"{registry.host}/team/model:1")
        opened.append(Repository(reference, plain_http=(), clock=clock, note=lambda line: None, push=True))
        return opened[-1]

    yield open_repository
    for repository in opened:
        repository.__exit__(None, None, None)


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("moved", [False, True], ids=["here", "after a 307"])
@pytest.mark.parametrize(
    "location",
    [
        "session?_state={secret}",
        "./session?_state={secret}",
        "../uploads/session?_state={secret}",
        "/v2/{repository}/blobs/uploads/session?_state={secret}",
        "//127.0.0.1:{port}/v2/{repository}/blobs/uploads/session?_state={secret}",
        "http://127.0.0.1:{port}/v2/{repository}/blobs/uploads/session?_state={secret}",
    ],
)
def test_an_upload_goes_where_the_registry_says(
    registry: OciRegistry, opened: Callable[[], Repository], location: str, moved: bool
) -> None:
    registry.location, registry.moved = location, moved
    assert opened().upload(BLOB, lambda: [DATA], what="a layer") == len(DATA)
    assert registry.blobs["team/model"][BLOB.digest] == DATA


@pytest.mark.fault("refused")
@pytest.mark.parametrize("location", ["", "http://[::1", "https://"])
def test_an_upload_without_an_address_is_refused(
    registry: OciRegistry, opened: Callable[[], Repository], location: str
) -> None:
    registry.location = location
    with pytest.raises(SlipwayError, match=r"names (no|an) address") as caught:
        opened().upload(BLOB, lambda: [DATA], what="a layer")
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
    assert STATE not in caught.value.message


def put_manifest(registry: OciRegistry, document: object) -> bytes:
    data = json.dumps(document).encode()
    registry.manifests["team/model"] = {"1": (MANIFEST, data), digest(data): (MANIFEST, data)}
    return data


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("served", ["application/json", "text/plain; charset=utf-8", "application/octet-stream"])
@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"mediaType": INDEX, "manifests": []}, INDEX),
        ({"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json", "manifests": []}, INDEX),
        ({"mediaType": MANIFEST, "config": {}, "layers": []}, MANIFEST),
        ({"schemaVersion": 2, "manifests": []}, INDEX),
        ({"schemaVersion": 2, "config": {}, "layers": []}, MANIFEST),
    ],
)
def test_a_manifest_says_itself_what_it_is(
    registry: OciRegistry, opened: Callable[[], Repository], served: str, document: object, kind: str
) -> None:
    registry.manifest_type = served
    data = put_manifest(registry, document)
    assert opened().manifest("1") == (kind, data)


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "document", [{"schemaVersion": 1, "fsLayers": []}, [], "<html>", {"mediaType": "text/x", "manifests": []}]
)
def test_another_document_is_no_manifest(registry: OciRegistry, opened: Callable[[], Repository], document: object) -> None:
    registry.manifest_type = "text/html"
    put_manifest(registry, document)
    with pytest.raises(SlipwayError, match="is neither an image's manifest nor an index") as caught:
        opened().manifest("1")
    assert caught.value.reason is Reason.SOURCE_PROTOCOL


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm={realm},service=tests,scope="{scope}"',
        'bearer  Realm = "{realm}" , Service="tests"',
        'Negotiate, Bearer realm="{realm}",service="tests", Basic realm="x"',
    ],
)
def test_challenges_are_read_as_the_standard_has_it(
    registry: OciRegistry, opened: Callable[[], Repository], challenge: str
) -> None:
    registry.auth, registry.challenge = "bearer", challenge
    data = put_manifest(registry, {"mediaType": INDEX, "manifests": []})
    registry.users = {"ada": "x"}
    assert opened().manifest("1")[1] == data


def test_parameters_belong_to_their_scheme() -> None:
    found = read_challenges([r'Basic realm="a \"b\", c", Bearer realm="https://t/x?y=1",error=invalid_token', "Negotiate"])
    assert found == {
        "basic": {"realm": 'a "b", c'},
        "bearer": {"realm": "https://t/x?y=1", "error": "invalid_token"},
        "negotiate": {},
    }

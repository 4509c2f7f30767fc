"""Credentials from Docker's configuration: the entry that fits best, helpers, and no secret in any message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.images.registry.credentials import find_credentials
from tests.steps.images.oci_build import OciBuild, auth, docker_config

PASSWORD = "correct horse"

HELPER = """#!/bin/sh
[ "$1" = get ] || exit 2
read -r server
case $server in
  HOST) printf '{"ServerURL": "%s", "Username": "ada", "Secret": "correct horse"}' "$server" ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["credHelpers", "credsStore"])
def test_a_credential_helper_is_run(oci_build: OciBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    host = oci_build.registry.host
    oci_build.registry.auth, oci_build.registry.users = "basic", {"ada": PASSWORD}
    program = tmp_path / "bin/docker-credential-tests"
    program.parent.mkdir()
    program.write_text(HELPER.replace("HOST", host))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    docker_config(tmp_path / "docker", **{how: {host: "tests"} if how == "credHelpers" else "tests"})
    assert oci_build.build().image_digest
    assert find_credentials("elsewhere.example", "a") is None
    program.write_text("#!/bin/sh\necho it broke and says hush-hush >&2\nexit 3\n")
    with pytest.raises(SlipwayError, match=r"docker-credential-tests failed for .* \(3\)") as caught:
        find_credentials(host, "a")
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "hush" not in oci_build.messages(caught.value)
    program.unlink()
    with pytest.raises(SlipwayError, match="which is not installed") as caught:
        find_credentials(host, "a")
    assert caught.value.reason is Reason.MISSING_DEPENDENCY


@pytest.mark.parametrize(
    ("config", "host", "repository", "user"),
    [
        ({"auths": {"r.example": auth("one", "x")}}, "r.example", "a/b", "one"),
        ({"auths": {"https://r.example/v1/": auth("one", "x")}}, "r.example", "a/b", "one"),
        ({"auths": {"https://index.docker.io/v1/": auth("hub", "x")}}, "docker.io", "library/python", "hub"),
        ({"auths": {"r.example": auth("all", "x"), "r.example/a": auth("part", "x")}}, "r.example", "a/b", "part"),
        ({"auths": {"r.example/other": auth("part", "x")}}, "r.example", "a/b", None),
        ({"auths": {"r.example": {"username": "plain", "password": "x"}}}, "r.example", "a", "plain"),
        ({"auths": {"evil-r.example": auth("one", "x")}}, "r.example", "a", None),
        ({"auths": {"r.example": {}}}, "r.example", "a", None),
        ({}, "r.example", "a", None),
    ],
)
def test_the_most_specific_entry_is_taken(
    offline_pip: None, tmp_path: Path, config: dict[str, object], host: str, repository: str, user: str | None
) -> None:
    docker_config(tmp_path / "docker", **config)
    found = find_credentials(host, repository)
    assert (found.username if found else None) == user
    assert "x" not in repr(found).replace("username", "")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": {"r.example": {"auth": "hush-hush!"}}}', '{"credsStore": "../../bin/x"}']
)
def test_a_broken_file_is_not_quoted(offline_pip: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    with pytest.raises(SlipwayError, match="not a valid file of credentials") as caught:
        find_credentials("r.example", "a")
    assert caught.value.reason is Reason.INVALID_INPUT
    assert str(path) in caught.value.message
    assert "hush" not in caught.value.message


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The folders where files of credentials are looked for, each for itself."""
    folders = {
        "runtime": tmp_path / "run",
        "config": tmp_path / "home/.config",
        "home": tmp_path / "home",
        "docker": tmp_path / "d",
    }
    monkeypatch.setenv("HOME", str(folders["home"]))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folders["runtime"]))
    return folders


def login(path: Path, user: str, host: str = "r.example") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {host: auth(user, PASSWORD)}}))


@pytest.mark.fault("accepted")
def test_podmans_files_are_read_before_dockers(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_credentials("r.example", "a") is None
    for user, path in (
        ("docker", places["home"] / ".docker/config.json"),
        ("config", places["config"] / "containers/auth.json"),
        ("runtime", places["runtime"] / "containers/auth.json"),
        ("named", places["docker"] / "config.json"),
    ):
        login(path, user)
        if user == "named":
            monkeypatch.setenv("DOCKER_CONFIG", str(places["docker"]))
        found = find_credentials("r.example", "a")
        assert found is not None
        assert (found.username, found.file) == (user, str(path))
    login(places["home"] / "own.json", "own", host="other.example")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(places["home"] / "own.json"))
    assert find_credentials("r.example", "a") is None


@pytest.mark.fault("accepted")
def test_a_file_without_the_host_is_passed_over(places: dict[str, Path]) -> None:
    login(places["runtime"] / "containers/auth.json", "other", host="other.example")
    login(places["home"] / ".docker/config.json", "ada")
    found = find_credentials("r.example", "a")
    assert found is not None
    assert found.username == "ada"


@pytest.mark.fault("refused")
@pytest.mark.parametrize("printed", ["", "[]", '{"Username": "ada"}', '{"Username": 1, "Secret": "hush"}', "no login"])
def test_a_helper_that_prints_nonsense_is_named(
    offline_pip: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    program = tmp_path / "bin/docker-credential-odd"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    docker_config(tmp_path / "docker", credHelpers={"r.example": "odd"})
    with pytest.raises(SlipwayError, match=r"docker-credential-odd printed no credentials for r\.example") as caught:
        find_credentials("r.example", "a")
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "hush" not in caught.value.message

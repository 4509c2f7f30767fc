"""Credentials from Docker's configuration: the entry that fits best, helpers, and no secret in any message."""

from __future__ import annotations

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
    with pytest.raises(SlipwayError, match="not a valid configuration of Docker") as caught:
        find_credentials("r.example", "a")
    assert caught.value.reason is Reason.INVALID_INPUT
    assert str(path) in caught.value.message
    assert "hush" not in caught.value.message

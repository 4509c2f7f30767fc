"""Names of images: completed as Docker does it, or refused."""

from __future__ import annotations

import pytest

from steps.core.errors import SlipwayError
from steps.images.registry.reference import Reference


@pytest.mark.parametrize(
    ("text", "full", "api_host"),
    [
        ("python:3.11-slim", "docker.io/library/python:3.11-slim", "registry-1.docker.io"),
        ("team/app", "docker.io/team/app:latest", "registry-1.docker.io"),
        ("r.example/a/b:1", "r.example/a/b:1", "r.example"),
        ("localhost/a:1", "localhost/a:1", "localhost"),
        ("10.0.0.1:5000/a/b_c/d--e:v1.2", "10.0.0.1:5000/a/b_c/d--e:v1.2", "10.0.0.1:5000"),
        (f"r.example/a:1@sha256:{'0' * 64}", f"r.example/a:1@sha256:{'0' * 64}", "r.example"),
        (f"r.example/a@sha256:{'0' * 64}", f"r.example/a@sha256:{'0' * 64}", "r.example"),
    ],
)
def test_a_name_is_read_as_docker_reads_it(text: str, full: str, api_host: str) -> None:
    found = Reference.parse(text)
    assert str(found) == full
    assert found.api_host == api_host
    assert found.identifier == (found.digest or found.tag)


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a b", "r.example/a:", "r.example/a@sha256:12", "r.example//a", "a:b:c", "x/../y", "a?b"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(SlipwayError, match="not the name of an image"):
        Reference.parse(text)

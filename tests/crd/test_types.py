"""The types accept the same specs on every machine; what depends on a machine is checked when a manifest is read there."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from crd.manifest import parse_manifest
from crd.types import ModelSpec
from steps.core.errors import Reason, SlipwayError
from steps.net.urls import HTTP_HOSTS, check_source
from steps.sources.git_lfs import GitLfsSource
from steps.sources.upload import UploadSource
from tests.crd.model_objects import INSERTED, RIGHT, changed_once, right

SOURCES = [value for value in RIGHT["spec", "source"] if value.startswith("https")]


@st.composite
def addresses(draw: st.DrawFn) -> str:
    text: str = draw(st.sampled_from(SOURCES))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["", *INSERTED])) + text[at + draw(st.integers(0, 3)) :]
    return text


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate(right(**fields)["spec"])


@given(addresses())
@example("https://example.org/a\n")
@example("https://a.b-c.d0/..%2e/x")
def test_the_types_take_what_fetch_takes(source: str) -> None:
    """So whatever the expression refuses, the parser of addresses can say why."""
    try:
        check_source(source)
    except SlipwayError:
        return
    assert re.fullmatch(GitLfsSource.address_pattern, source)


@pytest.mark.parametrize(
    "source", ["http://example.org/a", "https://example.org/a/../b", "https://0x7f.1/a", "https://h:99999/a"]
)
def test_the_types_do_not_depend_on_the_machine(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for hosts in ("", "example.org"):
        monkeypatch.setenv(HTTP_HOSTS, hosts)
        assert spec(source=source).source == source


def test_a_forbidden_address_is_refused_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = """\
apiVersion: slipway.dev/v1alpha1
kind: Model
metadata: {name: tiny}
spec:
  sourceKind: git_lfs
  services: [ner]
  source: http://example.org/a
"""
    with pytest.raises(SlipwayError, match=rf"m\.yaml, line 7: spec\.source: .*{HTTP_HOSTS}") as caught:
        parse_manifest(text, "m.yaml")
    assert caught.value.reason is Reason.INVALID_MANIFEST
    monkeypatch.setenv(HTTP_HOSTS, "example.org")
    assert parse_manifest(text, "m.yaml").spec.source == "http://example.org/a"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source": "https://u:p@example.org/a"}, "secrets never stand in an address"),
        ({"source": "https://example.org/{{x}}"}, "not a plain address of host, port and path"),
        ({"source": "https://example.org/a?x=1"}, "a repository's address has no query"),
        ({"sourceKind": "upload", "source": "-x"}, "no dash in front"),
        ({"sourceKind": "upload", "source": "{{x}}"}, "no brace"),
        ({"revision": "{{x}}"}, "String should match pattern"),
        ({"include": ["{{x}}"]}, "String should match pattern"),
        ({"services": ["ner", "token-classification"]}, "a task is named twice"),
        ({"source_kind": "git_lfs"}, "Extra inputs are not permitted"),
    ],
)
def test_a_refusal_says_what_is_wrong(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        spec(**fields)


@pytest.mark.parametrize("name", ["framework", "name", "revision", "include", "exclude", "expectedSetDigest", "builder"])
def test_a_null_field_has_its_default(name: str) -> None:
    whole = spec().model_dump(by_alias=True)
    default = ModelSpec.model_validate({key: value for key, value in whole.items() if key != name})
    assert spec(**{name: None}) == default


def test_no_field_can_have_an_argo_placeholder() -> None:
    """``{{…}}`` in a parameter would be replaced by Argo. Only the name for people, which does not travel, may hold braces."""
    accepted = 0
    for body in changed_once():
        try:
            taken = ModelSpec.model_validate(body.get("spec"))
        except ValidationError:
            continue
        accepted += 1
        texts = [taken.source, taken.revision, *taken.include, *taken.exclude, *taken.services, taken.expected_set_digest]
        assert not [text for text in texts if re.search(r"[{}\x00-\x1f\x7f-\x9f]", text)]
        assert not taken.source.startswith("-")
    assert accepted > 300


@pytest.mark.slow
@given(st.text())
def test_expressions_match_whole_texts(text: str) -> None:
    """``$`` matches before a last line break in Python, and nowhere but at the end in RE2."""
    assert not re.fullmatch(UploadSource.address_pattern, text + "\n")
    assert not re.fullmatch(GitLfsSource.address_pattern, f"https://example.org/{text}\n")

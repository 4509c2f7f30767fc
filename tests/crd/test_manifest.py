"""``model.yaml``: each mistake is reported with its file, its line and what to write instead."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crd.manifest import MAX_MANIFEST, parse_manifest, read_manifest
from crd.types import Model
from steps.core.errors import ExitCode, Reason, SlipwayError

GOOD = """\
apiVersion: slipway.dev/v1alpha1
kind: Model
metadata:
  name: tiny
spec:
  services:
    - text-classification
  sourceKind: git_lfs
  source: https://example.org/org/model
"""
SAMPLES = sorted((Path(__file__).parents[2] / "crd" / "samples").glob("*.yaml"))


def error_message(text: str) -> str:
    with pytest.raises(SlipwayError) as caught:
        parse_manifest(text, "model.yaml")
    assert caught.value.reason is Reason.INVALID_MANIFEST
    assert caught.value.reason.exit_code is ExitCode.INPUT
    assert len(caught.value.message) < 2000
    return caught.value.message


def replaced(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_is_good(path: Path) -> None:
    assert read_manifest(path).spec.services


def test_absent_fields_have_their_defaults() -> None:
    spec = parse_manifest(GOOD, "model.yaml").spec
    assert (spec.framework, spec.revision, spec.include, spec.builder) == ("transformers", "", (), None)


def test_an_alias_becomes_the_task_that_it_means() -> None:
    assert parse_manifest(replaced("- text-classification", "- ner"), "x").spec.services == ("token-classification",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (replaced("  sourceKind: git_lfs\n", ""), ["line 5", "spec.sourceKind is missing"]),
        (replaced("metadata:\n  name: tiny\n", ""), ["line 1", "metadata is missing"]),
        (replaced("sourceKind", "sourcKind"), ["line 8", "spec.sourcKind", "Did you mean sourceKind?"]),
        (replaced("apiVersion", "apiversion"), ["line 1", "apiversion", "Did you mean apiVersion?"]),
        (replaced("  name: tiny", "  nmae: tiny"), ["line 4", "metadata.nmae", "Did you mean name?"]),
        (GOOD + "  zzz: 1\n", ["line 10", "spec.zzz", "Known: framework,"]),
        (GOOD + "  source: https://example.org/other\n", ["line 10", "spec.source appears twice"]),
        (replaced("- text-classification", "- text-clasification"), ["line 6", "Did you mean 'text-classification'?"]),
        (replaced("- text-classification", "- text-classification\n    - sentiment-analysis"), ["line 6", "named twice"]),
        (replaced("name: tiny", "name: Tiny_Model"), ["line 4", "metadata.name", "'Tiny_Model'"]),
        (replaced("name: tiny", f"name: {'a' * 41}"), ["line 4", "metadata.name"]),
        (replaced("  source: https://example.org/org/model\n", ""), ["line 5", "source is required with sourceKind git_lfs"]),
        (replaced("https://example.org", "ftp://example.org"), ["line 9", "spec.source", "ftp:// is not supported"]),
        (replaced("https://", "https://user:secret@"), ["line 9", "spec.source", "secrets never stand in an address"]),
        (replaced("git_lfs", "s3"), ["line 8", "spec.sourceKind", "'git_lfs' or 'upload'", "'s3'"]),
        (
            replaced("slipway.dev/v1alpha1", "slipway.dev/v9"),
            ["line 1", "apiVersion", "slipway.dev/v1alpha1", "'slipway.dev/v9'"],
        ),
        (GOOD + "  revision: 1234567\n", ["line 10", "spec.revision", "write a text (in quotes", "1234567"]),
        (GOOD + "  include: ['a b']\n", ["line 10", "spec.include[0]", "'a b'"]),
        (replaced("    - text-classification\n", "    {}\n"), ["line 6", "spec.services"]),
        (replaced("  services:\n    - text-classification\n", "  services: []\n"), ["line 6", "spec.services", "at least 1"]),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, expected: list[str]) -> None:
    message = error_message(text)
    for part in ("model.yaml", *expected):
        assert part in message


def test_all_mistakes_are_said_at_once() -> None:
    message = error_message(replaced("sourceKind: git_lfs", "sourceKnid: git_lfs").replace("name: tiny", "name: T"))
    assert [line.split(":")[0] for line in message.splitlines()] == [
        "model.yaml, line 4",
        "model.yaml, line 5",
        "model.yaml, line 8",
    ]


def test_a_secret_in_an_address_is_not_repeated() -> None:
    assert "hunter2" not in error_message(replaced("https://", "https://user:hunter2@"))


@pytest.mark.fault("refused")
@pytest.mark.parametrize("kind", ["upload", "git_lfs"])
def test_a_source_is_required_by_each_kind(kind: str) -> None:
    text = replaced("git_lfs", kind).replace("  source: https://example.org/org/model\n", "")
    assert f"source is required with sourceKind {kind}" in error_message(text)


@pytest.mark.fault("refused")
def test_a_revision_with_an_upload_is_refused() -> None:
    text = replaced("git_lfs", "upload").replace("https://example.org/org/model", "/srv/model") + "  revision: main\n"
    assert "write no revision with sourceKind upload" in error_message(text)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: v}\n" + "".join(
    f"{name}: &{name}\n  <<: [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has 0 YAML documents"),
        ("# nothing\n", "has 0 YAML documents"),
        (f"{GOOD}---\n{GOOD}", "has 2 YAML documents"),
        ("- a\n- b\n", "is not a mapping"),
        ("model", "is not a mapping"),
        ("a: [1, 2", "is not YAML"),
        ("\tkind: Model", "is not YAML"),
        ("a: \x00", "is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("a: 2026-13-45", "has a value that YAML cannot read"),
        ("a: !!int many", "has a value that YAML cannot read"),
        ("? {a: b}\n: c", "line 1: the name of a field must be text"),
        ("a" * (MAX_MANIFEST + 1), "is larger than"),
        pytest.param("[" * 5000, "nested too deeply", marks=pytest.mark.slow),
        ("a: &a [*a]", "nested too deeply"),
        (BOMB, "has more than 10000 values"),
        (MERGES, "has more than 10000 values"),
        (replaced("name: tiny", "name: " + "[x, " * 300 + "]" * 300), "model.yaml"),
    ],
    ids=range(18),
)
def test_a_broken_manifest_is_refused_in_a_sentence(text: str, expected: str) -> None:
    assert expected in error_message(text)


def test_a_long_wrong_value_is_shortened() -> None:
    assert len(error_message(replaced("name: tiny", f"name: {'A' * 100_000}"))) < 400


@pytest.mark.slow
@given(st.text() | st.text(alphabet="ab:-[]{}&*?!|>'\"#%@`,<=\n\t 0.1eE~").map(lambda tail: GOOD + tail))
def test_any_text_is_a_model_or_a_complaint(text: str) -> None:
    found: Model | Reason
    try:
        found = parse_manifest(text, "model.yaml")
    except SlipwayError as error:
        found = error.reason
    assert found is Reason.INVALID_MANIFEST or isinstance(found, Model)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "There is no file"),
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (lambda path: path.write_bytes(b"a\n\x89PNG"), "is not text in UTF-8: line 2 has the byte 0x89"),
        (lambda path: path.symlink_to("/dev/zero"), "is larger than"),
    ],
    ids=["missing", "folder", "binary", "endless"],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, make, expected: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "model.yaml"
    make(path)
    with pytest.raises(SlipwayError, match=expected) as caught:
        read_manifest(path)
    assert caught.value.reason is Reason.INVALID_MANIFEST


def test_a_manifest_is_utf8_whatever_the_locale_says(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(textwrap.dedent(GOOD).replace("spec:\n", "spec:\n  name: Größe\n").encode())
    assert read_manifest(path).spec.name == "Größe"

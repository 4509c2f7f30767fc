"""The licence that a model card names, whatever the card holds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.digest import canonical_json
from steps.frameworks.model_card import licence

FRONT = st.text(alphabet="license: aApache\n-'\"&*!{}[]\\u0d8x2026-13,", max_size=80)


@given(FRONT | st.text())
def test_any_card_gives_a_printable_licence(tmp_path_factory: pytest.TempPathFactory, front: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "card"
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_bytes(f"---\n{front}\n---\n".encode())
    found = licence(folder)
    assert len(found) <= 100
    assert found.isprintable()
    canonical_json(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: mit", "mit"),
        ("tags: [a]\r\nlicense: mit\r", "mit"),
        ('license: "a\\0b\\ud800c"', "abc"),
        ("license: mit\ndate: 2026-13-45", "mit"),
        ("tags: {license: no}\nlicense: mit", "mit"),
        ("? [license, x]\n: y\nlicense: mit", "mit"),
        ("license: 5", ""),
        ("license: no", ""),
        ("license: 'no'", "no"),
        ("license: !!python/object:os.system x", ""),
        ("a: &a mit\nlicense: *a", ""),
        ("- license: mit", ""),
        ("x: license\ny: mit", ""),
        ("license: [mit, other]", ""),
        ("[" * 3000, ""),
        ("a: b: c", ""),
    ],
)
def test_a_licence_is_read_from_front_matter(tmp_path: Path, front: str, expected: str) -> None:
    (tmp_path / "README.md").write_bytes(f"---\n{front}\n---\nText\n".encode())
    assert licence(tmp_path) == expected


LEVELS = zip("abcdefghi", "bcdefghij", strict=True)
BOMB = "a: &a {" + ", ".join(f"k{n}: x" for n in range(10)) + "}\n"
BOMB += "".join(f"{name}: &{name} {{<<: [{', '.join(['*' + before] * 10)}]}}\n" for before, name in LEVELS)


@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    ("front", "expected"),
    [
        (BOMB + "license: mit", "mit"),
        ("license: mit\n" + BOMB, "mit"),
        ("a: &a [x, x]\n" + "".join(f"b{n}: [*a, *a]\n" for n in range(3000)) + "license: mit", "mit"),
        ("a: " + "[" * 60_000, ""),
        ("a:\n" + "".join(" " * n + "- \n" for n in range(300)), ""),
        ("a: " + "{b: " * 15_000, ""),
        ("a: &a [*a]\nlicense: mit", "mit"),
        ("- " * 30_000, ""),
        ("[\n" * 30_000, ""),
        ("license: mit\n" + "x" * 10_000_000, ""),
    ],
    ids=range(10),
)
def test_a_hostile_card_is_read_at_once(tmp_path: Path, front: str, expected: str) -> None:
    assert len(BOMB) < 900
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n")
    begin = time.process_time()
    assert licence(tmp_path) == expected
    assert time.process_time() - begin < 60


@pytest.mark.fault("survived")
def test_a_card_that_is_no_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    assert licence(tmp_path) == ""


def test_no_card_means_no_licence(tmp_path: Path) -> None:
    assert licence(tmp_path) == ""

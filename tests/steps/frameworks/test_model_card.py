"""The licence that a model card names, whatever the card holds."""

from __future__ import annotations

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
        ("license: mit\ndate: 2026-13-45", ""),
        ("license: [mit, other]", ""),
        ("[" * 3000, ""),
        ("a: b: c", ""),
    ],
)
def test_a_licence_is_read_from_front_matter(tmp_path: Path, front: str, expected: str) -> None:
    (tmp_path / "README.md").write_bytes(f"---\n{front}\n---\nText\n".encode())
    assert licence(tmp_path) == expected


def test_no_card_means_no_licence(tmp_path: Path) -> None:
    assert licence(tmp_path) == ""

"""Texts and numbers for a reader."""

from __future__ import annotations

import pytest

from steps.core.text import (
    chart_bars,
    display_text,
    format_bytes,
    format_count,
    format_duration,
    format_rough_duration,
    format_seconds,
    join_words,
    percent,
    printable,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (150_000, "150 kB"), (27_600_000, "27.6 MB"), (5 * 10**12, "5000 GB")],
)
def test_bytes_have_decimal_units(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_counts_are_exact_below_a_million() -> None:
    assert [format_count(count) for count in (999_999, 66_955_010, 7 * 10**9)] == ["999,999", "67 million", "7 billion"]


def test_durations_fit_their_size() -> None:
    assert [format_seconds(each) for each in (0.42, 12.4, 185)] == ["0.4 s", "12 s", "3 min 5 s"]
    assert [format_duration(each) for each in (0.0042, 0.093, 1.24)] == ["4.2 ms", "93 ms", "1.2 s"]
    assert [format_rough_duration(each) for each in (40, 720, 3 * 3600, 5 * 86400)] == ["40 s", "12 min", "3 h", "5 days"]


def test_words_are_joined_as_in_a_sentence() -> None:
    assert [join_words(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_a_long_text_is_cut() -> None:
    assert display_text("x" * 300, 10) == "x" * 9 + "…"


def test_marks_that_reorder_text_are_replaced() -> None:
    assert display_text("a\u202eb\x1b[0m\n") == "a\ufffdb\ufffd[0m\n"
    assert printable("a\u202eb\x1b") == "a\ufffdb\ufffd"


def test_bars_share_a_zero_line() -> None:
    above, below = chart_bars([3.0, -1.0])
    assert (above.top, above.height) == (0.0, 75.0)
    assert (below.top, below.height) == (75.0, 25.0)
    assert percent(1, 0) == 0.0

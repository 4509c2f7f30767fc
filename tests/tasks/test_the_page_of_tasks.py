"""The page that the README links says what the tests of this run saw."""

from __future__ import annotations

import os

import pytest

from steps.tasks import TASKS
from tests.tasks.page import PAGE, SEEN, page


def test_the_page_is_what_the_tests_saw() -> None:
    if not SEEN.keys() >= TASKS.keys():
        pytest.skip("only some of the tasks were served in this run")
    if os.environ.get("SLIPWAY_WRITE_TASKS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "`make tasks` writes the page anew"

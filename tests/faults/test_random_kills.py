"""A run of the whole chain is killed at 30 random moments: the next one makes what it always makes, and nothing is left."""

from __future__ import annotations

import pytest

from tests.faults.kills import Chain, chain, classifier_folder

__all__ = ["chain", "classifier_folder"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.hard, pytest.mark.fault("survived"), pytest.mark.timeout(600)]


@pytest.mark.parametrize("number", range(30))
def test_the_next_run_converges(chain: Chain, tmp_path_factory: pytest.TempPathFactory, number: int) -> None:
    chain.kill_one(number, tmp_path_factory.getbasetemp(), child=False)

"""The least rate of a download: what is too slow, what is not, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge, Reply
from pipelines.demo.repository import publish
from steps.core.contract import Context
from steps.core.errors import ExitCode, SlipwayError
from steps.net.least_rate import SLOW_WINDOWS, LeastRate, RateMeter, TooSlowError
from tests.servers.forge_faults import Fault
from tests.steps.model_trees import model_tree
from tests.steps.sources.running import fetch, run_process


def wait(meter: RateMeter, seconds: float = 0.02) -> None:
    with meter.waiting():
        time.sleep(seconds)


def test_a_slow_window_is_named() -> None:
    meter = RateMeter(LeastRate(10_000, 0.01), "model.safetensors")
    wait(meter)
    with pytest.raises(TooSlowError, match=r"model\.safetensors: the server sent 5 B in 0 seconds") as caught:
        meter.got(5)
    assert caught.value.reason.exit_code is ExitCode.TRANSIENT
    assert "least_rate" in caught.value.hint


def test_windows_in_a_row_are_final() -> None:
    meter = RateMeter(LeastRate(10_000, 0.01), "it")
    kinds = []
    for _ in range(SLOW_WINDOWS):
        wait(meter)
        with pytest.raises(SlipwayError) as caught:
            meter.got(5)
        kinds.append(type(caught.value))
    assert kinds == [TooSlowError, TooSlowError, SlipwayError]


def test_a_good_window_counts_anew() -> None:
    meter = RateMeter(LeastRate(10_000, 0.01), "it")
    for count in (5, 1_000_000, 5, 5):
        wait(meter)
        if count > 5:
            meter.got(count)
        else:
            with pytest.raises(TooSlowError):
                meter.got(count)


def test_our_own_slowness_does_not_count() -> None:
    meter = RateMeter(LeastRate(10_000, 0.01), "it")
    time.sleep(0.03)
    meter.got(1)
    with meter.waiting():
        pass
    time.sleep(0.03)
    meter.got(1)


def test_no_rate_means_no_limit() -> None:
    meter = RateMeter(LeastRate(0, 0.01), "it")
    wait(meter)
    meter.got(0)


class Trickles(Fault):
    """Sends an object of the right length a byte at a time."""

    pause = 0.1

    def lfs_object(self, name: str, oid: str) -> Reply:
        reply = super().lfs_object(name, oid)
        return replace(reply, body=self._slowly(reply)) if self.strikes() else reply

    def _slowly(self, reply: Reply) -> Iterator[bytes]:
        for byte in b"".join(reply.body):
            time.sleep(self.pause)
            yield bytes([byte])


@pytest.fixture
def slow_forge(tmp_path: Path) -> Iterator[Forge]:
    publish(tmp_path / "forge", "bert", model_tree(tmp_path / "tree"))
    with Forge(tmp_path / "forge", handler=Trickles) as forge:
        yield forge


@pytest.mark.slow
@pytest.mark.fault("survived")
def test_a_server_that_trickles_is_given_up(tmp_path: Path, slow_forge: Forge) -> None:
    done = run_process(slow_forge.url("bert"), tmp_path / "store", env={"SLIPWAY_LEAST_RATE_SECONDS": "1"})
    assert done.returncode == ExitCode.TRANSIENT, done.stderr
    assert "error: NetworkUnreachable: model.safetensors: the server sent" in done.stderr
    assert "least_rate" in done.stderr


@pytest.mark.slow
@pytest.mark.fault("survived")
def test_another_connection_may_be_faster(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_LEAST_RATE_SECONDS", "1")
    publish(tmp_path / "forge", "bert", model_tree(tmp_path / "tree"))
    with Forge(tmp_path / "forge", handler=Trickles.having(times=1)) as forge:
        assert fetch(context, forge.url("bert")).files == 5


@pytest.mark.slow
@pytest.mark.fault("accepted")
def test_a_slow_link_is_accepted_by_setting(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_LEAST_RATE_SECONDS", "1")
    monkeypatch.setenv("SLIPWAY_LEAST_RATE", "1")
    publish(tmp_path / "forge", "bert", model_tree(tmp_path / "tree"))
    with Forge(tmp_path / "forge", handler=Trickles.having(pause=0.002)) as forge:
        assert fetch(context, forge.url("bert")).files == 5

"""A claim: one process at a time, also after one that was killed inside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from steps.core import claim as module
from steps.core.claim import claim


def test_one_at_a_time_is_inside(tmp_path: Path) -> None:
    inside, seen, waits = 0, [], []
    guard = threading.Lock()

    def enter() -> None:
        nonlocal inside
        with claim(tmp_path / "claim", lambda: waits.append(1)):
            with guard:
                inside += 1
                seen.append(inside)
            threading.Event().wait(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1, 1, 1, 1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("survived")
def test_a_claim_whose_process_ended_is_taken(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "claim").write_text(f"{ended.pid} {socket.gethostname()}\n")
    with claim(tmp_path / "claim"):
        assert (tmp_path / "claim").read_text().startswith(f"{os.getpid()} ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("survived")
def test_an_old_claim_of_elsewhere_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    path.write_text("1 some-other-machine\n")
    long_ago = path.stat().st_mtime - module.FOREIGN_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    with claim(path):
        pass
    assert not path.exists()


def test_an_error_inside_ends_the_claim(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), claim(tmp_path / "claim"):
        raise ValueError("inside")
    assert list(tmp_path.iterdir()) == []

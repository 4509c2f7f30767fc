"""Fetching as the drivers do it: in this process with a context, or as ``python -m steps.fetch``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steps.core.contract import Context
from steps.core.lock import Lock
from steps.core.receipts import execute
from steps.fetch import STEP, FetchInputs, FetchOutputs
from steps.store.local import LocalStore


def fetch(context: Context, source: str, **inputs: Any) -> FetchOutputs:
    """The step with its pin and its receipt, in this process."""
    return execute(STEP, FetchInputs(**{"source_kind": "git_lfs", "source": source, **inputs}), context).outputs


def lock_of(context: Context, outputs: FetchOutputs) -> Lock:
    return context.read_document(outputs.lock, Lock)


def taken(context: Context, outputs: FetchOutputs) -> dict[str, bytes]:
    """The files that came, by path, with the bytes that lie in the store."""
    return {file.path: b"".join(context.store.read(file.key)) for file in lock_of(context, outputs).files}


def left_in(store: Path) -> list[str]:
    """Everything in a local store but records of runs: after a failure, what should not be there."""
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())


def command(source: str, store: Path, *flags: str, kind: str = "git_lfs") -> list[str]:
    return [sys.executable, "-m", "steps.fetch", f"--source-kind={kind}", f"--source={source}", f"--store={store}", *flags]


def run_process(
    source: str, store: Path, *flags: str, kind: str = "git_lfs", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(source, store, *flags, kind=kind),
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=120,
    )


def local(context: Context) -> LocalStore:
    assert isinstance(context.store, LocalStore)
    return context.store


def outputs_of(done: subprocess.CompletedProcess[str]) -> FetchOutputs:
    assert done.returncode == 0, done.stderr
    return FetchOutputs(**json.loads(done.stdout))

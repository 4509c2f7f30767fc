"""How the heavy libraries are imported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.frameworks.libraries import require_libraries
from tests.steps.frameworks.conftest import Loaded


def test_a_missing_library_is_named() -> None:
    with pytest.raises(SlipwayError) as caught:
        require_libraries(["json", "no_such_library"])
    assert caught.value.reason is Reason.MISSING_DEPENDENCY
    assert "no_such_library" in caught.value.message


@pytest.mark.slow
def test_sigterm_during_imports_terminates_the_step(classifier: Loaded, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(classifier.root, store)
    shutil.rmtree(store / "receipts/load")
    command = [sys.executable, "-m", "steps.load", "--store", str(store), "--run", "it", "--progress", "json"]
    command += ["--lock", classifier.lock, "--services", classifier.service]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=dict(os.environ)
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Importing torch" in line:
                process.send_signal(signal.SIGTERM)
                break
        errors = process.stderr.read()
    assert process.returncode == ExitCode.TERMINATED
    assert "Traceback" not in errors
    assert json.loads(errors.splitlines()[-1])["reason"] == Reason.TERMINATED
    assert json.loads((store / "runs/it/load.json").read_text())["failure"]["reason"] == Reason.TERMINATED
    assert list((store / "tmp").iterdir()) == []

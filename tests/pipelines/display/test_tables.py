"""Tables of Models and of one run in the cluster."""

from __future__ import annotations

import io
import json

from rich.console import Console

from pipelines.display.json_lines import describe_model, describe_run
from pipelines.display.tables import models_table, print_run
from tests.pipelines.cluster.objects import NOW, READY, REFUSED, SERVICE, STALLED, model, run, step, workflow


def test_control_characters_are_not_printed() -> None:
    nodes = step("w.fetch", "Failed", ("Failed", f"main: Error (exit code 10): {REFUSED}\n"))
    out = io.StringIO()
    print_run(run(None, workflow("Failed", *nodes)), Console(file=out, width=120), NOW)
    assert "There is no next" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_each_model_is_a_row() -> None:
    short = describe_model({**STALLED, "status": {**STALLED["status"], "revision": "f" * 40}}, NOW)
    assert short == {"name": "m", "ready": "False", "reason": "NotLfs", "revision": "f" * 40, "ageSeconds": 60}
    assert describe_model(model(), NOW)["ready"] == "Unknown"
    out = io.StringIO()
    Console(file=out, width=120).print(models_table([READY, STALLED], NOW))
    head, ready, stalled = out.getvalue().splitlines()
    assert head.split() == ["name", "ready", "reason", "revision", "age"]
    assert ready.split() == ["m", "True", "Succeeded", "60", "s"]
    assert stalled.split() == ["m", "False", "NotLfs", "60", "s"]


def test_a_full_run_has_digests_steps_hint() -> None:
    made = {"task": SERVICE, "archive": "archives/a.tar.gz", "archiveDigest": "sha256:aa", "image": "slipway/m:1"}
    status = {**STALLED["status"], "services": [made], "setDigest": "sha256:bb", "report": "runs/w/report.html"}
    nodes = [
        *step("w.fetch", "Failed", ("Failed", "OOMKilled"), ("Failed", f"main: Error: {REFUSED}")),
        *step("w.onExit", "Succeeded", ("Succeeded", "")),
    ]
    full = run({**STALLED, "status": status}, workflow("Failed", *nodes))
    out = io.StringIO()
    print_run(full, Console(file=out, width=120), NOW)
    text = out.getvalue()
    for part in ("sha256:aa", "sha256:bb", "(planned, not built)", "runs/w/report.html", "try 2, RevisionNotFound", "Use it."):
        assert part in text
    described = json.loads(json.dumps(describe_run(full, NOW)))
    assert described["phase"] == "Failed"
    assert described["failure"]["step"] == "fetch"
    assert [each["state"] for each in described["steps"]][:2] == ["failed", "not reached"]

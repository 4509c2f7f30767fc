"""``slipway doctor``: what is missing on this machine and in the cluster, and how to get it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from pipelines.commands.options import ContextOption, JsonOption, NamespaceOption, StoreOption
from pipelines.display.console import open_console
from pipelines.doctor.destinations import SETTINGS
from pipelines.doctor.examination import examine, print_findings
from steps.core.errors import ExitCode


def doctor(
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> int:
    """Check this machine and the cluster for what is missing.

    Below each thing that is missing stands the command that fixes it. Nothing is changed. The exit code is 0 when all that is
    required is there, 2 where a setting is wrong, else 16.
    """
    findings = examine(namespace, context, store)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print_findings(findings, open_console(sys.stdout))
    missing = [finding for finding in findings if finding.required and not finding.good]
    if any(finding.what == SETTINGS for finding in missing):
        return ExitCode.INPUT
    return ExitCode.ENVIRONMENT if missing else ExitCode.DONE

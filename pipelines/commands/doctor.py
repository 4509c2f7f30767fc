"""``slipway doctor``: what is missing on this machine and in the cluster, and how to get it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from pipelines.commands.options import ContextOption, JsonOption, NamespaceOption, StoreOption
from pipelines.display.console import open_console
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
    required is there.
    """
    findings = examine(namespace, context, store)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print_findings(findings, open_console(sys.stdout))
    return ExitCode.DONE if all(finding.good or not finding.required for finding in findings) else ExitCode.ENVIRONMENT

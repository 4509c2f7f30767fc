"""docs/errors.md: every exit code and every reason, from ``steps.core.reasons``."""

from __future__ import annotations

from pipelines.pages.markdown import code, page, table
from steps.core.reasons import ExitCode, Reason


def errors_page() -> str:
    """Return the page."""
    parts = [
        "When a step or `slipway` fails, it writes one sentence about what happened and a hint what to do, and it ends with an "
        "exit code that says what kind of failure it was. The reason is one word of the closed list below. It stands in front "
        "of the message, in the conditions of a Model's status, in the report, and in the last line of a step's log:",
        "    error: RevisionNotFound: The repository has no branch, tag or commit v2.\n     hint: It has: main, v1.",
        "With `--progress json` (steps) the last line on standard error is a JSON object with `reason`, `message`, `hint` and "
        "`retryable`. A reason may be added in a later version; none is renamed.",
        "## Exit codes",
        "A retry can help only where the code says so: Slipway's Workflow repeats a step that ends with 75 or 143, and no "
        "other. 64 and 65 are not used, because Argo's executor ends with them when it fails itself. 137, which is not in the "
        "table, means that the system killed the process, most likely for its memory.",
        table(
            ["code", "meaning", "retry"],
            [[code(int(each)), each.meaning, "yes" if each.retryable else "no"] for each in ExitCode],
        ),
        "## Reasons",
        "The hint here is the general one; where the place that failed knows more, it gives a better one.",
    ]
    for each in ExitCode:
        reasons = [reason for reason in Reason if reason.exit_code is each]
        if reasons:
            retry = "A retry can help." if each.retryable else "A retry does not help."
            parts.append(f"### Exit code {int(each)}\n\n{each.meaning} {retry}")
            parts.append(table(["reason", "meaning", "hint"], [[code(one), one.meaning, one.hint] for one in reasons]))
    return page("Errors", *parts)

"""``make coverage``: branch coverage of all tests, in every process that they start, and the page that shows it.

Steps and services run in processes with an environment built from a list, so a variable of coverage's does not reach them. A
``.pth`` file in the virtual environment starts the measurement in each of its Pythons; it is removed afterwards. Modules that
run as a copy inside a package (``src/serving``) count for the module in ``steps/serving`` that they were copied from.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "coverage.md"
HOOK = Path(sysconfig.get_path("purelib")) / "slipway_coverage.pth"
SHOWN_BELOW = 90.0  # percent
CONFIGURATION = """\
[run]
branch = true
parallel = true
sigterm = true
data_file = {data}/coverage
include =
    {root}/steps/*
    {root}/crd/*
    {root}/pipelines/*
    */src/serving/*

[paths]
serving =
    {root}/steps/serving
    */src/serving
"""
TESTS = ("-m", "pytest", "-q", "-n", "logical", "--maxprocesses", "4", "--dist", "loadscope", "--no-loadscope-reorder")


def main() -> int:
    """Run the tests, write the page, and return 0 if they passed and the floor in ``pyproject.toml`` is kept."""
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "coveragerc")
        configuration.write_text(CONFIGURATION.format(root=ROOT, data=folder))
        variable = f"os.environ['COVERAGE_PROCESS_START'] = {str(configuration)!r}"
        start = f"import os; {variable}; import coverage; coverage.process_startup()"
        try:
            HOOK.write_text(start + "\n")
            tests = subprocess.run([sys.executable, *TESTS, *sys.argv[1:]], cwd=ROOT, check=False).returncode
        finally:
            HOOK.unlink(missing_ok=True)
        options = (f"--rcfile={configuration}",)
        command = [sys.executable, "-m", "coverage"]
        subprocess.run([*command, "combine", "--quiet", *options, folder], check=True)
        result = Path(folder, "coverage.json")
        subprocess.run([*command, "json", "--quiet", *options, "-o", str(result)], check=True)
        total = write_page(result)
    if total < floor():
        print(f"Coverage is {total:.1f} %, below the floor of {floor()} %.")
        return 1
    return tests


def floor() -> float:
    """The percentage below which ``make coverage`` fails."""
    import tomllib

    return float(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["slipway"]["coverage-floor"])


def write_page(result: Path) -> float:
    """Write ``docs/coverage.md`` from coverage's JSON report; returns the percentage of lines and branches covered."""
    found = json.loads(result.read_text())
    total = float(found["totals"]["percent_covered"])
    modules = {
        Path(path).resolve().relative_to(ROOT).as_posix(): float(each["summary"]["percent_covered"])
        for path, each in found["files"].items()
    }
    low = sorted((percent, path) for path, percent in modules.items() if percent < SHOWN_BELOW)
    PAGE.write_text(
        "# Coverage\n\n"
        "<!-- Made by `make coverage`. -->\n\n"
        "Lines and branches of `steps`, `crd` and `pipelines` that `make test` runs, in every process that it starts: "
        f"**{total:.1f} %**. `make coverage` fails below {floor():g} %.\n\n"
        "The tests that need a cluster (`make e2e`) are not counted: they cover the operator's event loop, and the commands "
        "against a real API server.\n\n"
        f"Modules below {SHOWN_BELOW:.0f} %:\n\n| module | covered |\n| --- | --- |\n"
        + "".join(f"| `{path}` | {percent:.0f} % |\n" for percent, path in low)
    )
    print(f"Coverage: {total:.1f} %")
    return total


if __name__ == "__main__":
    sys.exit(main())

"""The fault suite: the markers ``fault`` and ``hard``, and the scorecard of ``make test-hard``.

A test that feeds hostile or odd input, or injects a fault, carries ``@pytest.mark.fault(kind)``. The kinds are in ``KINDS``.
After each of these tests this plugin looks for processes and temporary files that were left, and fails the test if there are
any. Tests that take long carry ``hard`` as well and run by ``make test-hard`` only.

Two fixtures are for the tests: ``scorecard`` takes measurements of memory, ``canary`` is a secret that nothing may write.
Everything travels to the process that prints in the reports' user properties, so it works with pytest-xdist too.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.leftovers import Canary, orphans, processes, temporary_files

KINDS = {"refused": "inputs refused", "accepted": "inputs accepted", "survived": "faults survived"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--scorecard=FILE``: where the table is written; without it, it is only printed.

    With a space pytest takes the file for tests to run, before it has read this option from their ``conftest.py``.
    """
    parser.addoption("--scorecard", type=Path, help="write the scorecard of the fault suite to this Markdown file (after an =)")


def kind_of(item: pytest.Item) -> str | None:
    """The kind of a fault test, None of another test; a marker that names no kind is refused."""
    marker = item.get_closest_marker("fault")
    if marker is None:
        return None
    if len(marker.args) != 1 or marker.kwargs or marker.args[0] not in KINDS:
        raise pytest.UsageError(f"{item.nodeid}: the marker fault wants one of {', '.join(KINDS)}")
    return str(marker.args[0])


def area_of(nodeid: str) -> str:
    """The folder below ``tests`` that a test is in."""
    return nodeid.partition("::")[0].rpartition("/")[0].removeprefix("tests/") or "tests"


@pytest.hookimpl(tryfirst=True)  # before tests are left out, so that each is checked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Check each marker, and write into each report what the scorecard counts."""
    for item in items:
        if kind := kind_of(item):
            item.user_properties.append(("fault", kind))


def watched(item: pytest.Item) -> bool:
    """Whether what a test leaves behind is looked for; not in a cluster, whose tests share what they start."""
    if item.get_closest_marker("cluster"):
        return False
    return kind_of(item) is not None or item.get_closest_marker("hard") is not None


BEFORE = pytest.StashKey[tuple[frozenset[int], Path, frozenset[str]]]()
FOLDER = pytest.StashKey[Path]()


@pytest.fixture(scope="session", autouse=True)
def folder_of_tests(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> None:
    """Write down where the tests' files are: what belongs to them is known by it."""
    pytestconfig.stash[FOLDER] = tmp_path_factory.getbasetemp()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Note what there is before a test: fixtures for several tests keep servers of theirs."""
    if watched(item):
        folder = Path(tempfile.gettempdir())
        item.stash[BEFORE] = frozenset(psutil.pids()), folder, temporary_files(folder)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Look for what a test left when all that it asked for is taken down."""
    result = yield
    if BEFORE in item.stash:
        pids, folder, files = item.stash[BEFORE]
        found = [("orphan", command) for command in orphans(item.config.stash[FOLDER], pids)]
        found += [("left file", name) for name in sorted(temporary_files(folder) - files)]
        if found:
            item.user_properties += found
            pytest.fail("This test left behind:\n" + "\n".join(f"{what}: {text}" for what, text in found), pytrace=False)
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look for processes once more: fixtures of a module start some, too."""
    found = []
    if folder := session.config.stash.get(FOLDER, None):
        own = frozenset(process.pid for process in psutil.Process().children(recursive=True))
        found = orphans(folder, own) if processes(folder, own) else []
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["orphans"] = found
    else:
        session.config.stash[CARD].at_the_end += found


@dataclass
class Measured:
    """A command that ran to its end, and how much memory it took."""

    returncode: int
    stdout: str
    stderr: str
    peak: int
    """Largest resident memory of the process or any of its children, in bytes."""


@dataclass
class Scorecard:
    """What a test tells the scorecard."""

    properties: list[tuple[str, object]]

    def memory(self, step: str, peak: int) -> None:
        """Tell the largest resident memory in bytes of a process that ran ``step``: ``fetch``, ``load`` or ``serve``."""
        self.properties.append(("memory", f"{step} {peak}"))

    def run(
        self,
        step: str,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Measured:
        """Run a command to its end, and tell the memory that it took as ``step``'s."""
        with (
            subprocess.Popen(
                argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process,
            Watch(process.pid) as peaks,
        ):
            try:
                stdout, stderr = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        peak = max(peaks.values(), default=0)
        self.memory(step, peak)
        return Measured(process.returncode, stdout, stderr, peak)


class Watch:
    """While open, keeps the largest resident memory in bytes of a process and of each of its children, by process id."""

    def __init__(self, pid: int, seconds: float = 0.02) -> None:
        self._pid, self._seconds = pid, seconds
        self._peaks: dict[int, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> dict[int, int]:
        self._thread.start()
        return self._peaks

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                top = psutil.Process(self._pid)
                family = [top, *top.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            for process in family:
                self._peaks[process.pid] = max(self._peaks.get(process.pid, 0), high_water(process.pid))


def high_water(pid: int) -> int:
    """The largest resident memory of a process so far, in bytes; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return int(psutil.Process(pid).memory_info().rss)
    except (OSError, psutil.Error):
        return 0


@pytest.fixture
def scorecard(request: pytest.FixtureRequest) -> Scorecard:
    """Takes measurements for the scorecard of the fault suite: ``scorecard.memory("fetch", peak)`` or ``scorecard.run(…)``."""
    return Scorecard(request.node.user_properties)


@pytest.fixture
def canary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Canary]:
    """A secret. After the test no file of it may have that, but those named by ``canary.plant``."""
    planted = Canary()
    yield planted
    request.node.user_properties.append(("canary", planted.secret))
    leaks = planted.leaks(tmp_path, Path.home(), Path.cwd())
    request.node.user_properties += [("leaked secret", path) for path in leaks]
    assert leaks == [], f"the planted secret stands in {', '.join(leaks)}"


@dataclass
class Card:
    """Counts the reports of a run."""

    outcomes: dict[str, str] = field(default_factory=dict)
    properties: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    at_the_end: list[str] = field(default_factory=list)

    def add(self, report: pytest.TestReport) -> None:
        """Count one phase of a test."""
        self.properties[report.nodeid] = [(str(name), str(value)) for name, value in report.user_properties]
        worst = self.outcomes.get(report.nodeid)
        if report.failed or worst is None or (worst == "passed" and report.skipped):
            self.outcomes[report.nodeid] = report.outcome

    def of_kind(self, kind: str) -> dict[str, str]:
        """The outcome of each test of a kind that was not skipped, by its id."""
        return {
            test: outcome
            for test, outcome in self.outcomes.items()
            if ("fault", kind) in self.properties[test] and outcome != "skipped"
        }

    def told(self, name: str) -> list[str]:
        """All values of a property."""
        return [value for properties in self.properties.values() for each, value in properties if each == name]

    @property
    def peaks(self) -> dict[str, int]:
        """The largest memory of each step in bytes, in the alphabet's order."""
        found: dict[str, int] = {}
        for value in self.told("memory"):
            step, _, peak = value.rpartition(" ")
            found[step] = max(found.get(step, 0), int(peak))
        return dict(sorted(found.items()))

    def rows(self) -> list[tuple[str, str]]:
        """The scorecard: what, and how much of it."""
        rows = []
        for kind, text in KINDS.items():
            outcomes = Counter(self.of_kind(kind).values())
            rows.append((text, f"{outcomes['passed']} of {outcomes.total()}"))
        rows.append(("orphan processes", str(len(self.told("orphan")) + len(self.at_the_end))))
        rows.append(("secrets leaked", f"{len(self.told('leaked secret'))}, of {len(self.told('canary'))} planted"))
        rows.append(("temporary files left", str(len(self.told("left file")))))
        rows += [(f"peak memory of {step}", f"{peak / 2**20:.0f} MiB") for step, peak in self.peaks.items()]
        return rows

    def areas(self) -> list[tuple[str, ...]]:
        """For each folder of tests: how many of each kind passed, of how many."""
        counted: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: {kind: Counter() for kind in KINDS})
        for kind in KINDS:
            for test, outcome in self.of_kind(kind).items():
                counted[area_of(test)][kind][outcome] += 1
        return [
            (f"`{area}`", *(f"{each['passed']} of {each.total()}" if each else "" for each in kinds.values()))
            for area, kinds in sorted(counted.items())
        ]

    def page(self) -> str:
        """The scorecard as a Markdown page."""
        return (
            "# Fault suite\n\n"
            "<!-- Made by `make test-hard`. -->\n\n"
            "What the last full run of `make test-hard` found. A test of the suite feeds hostile or odd input, or injects a "
            "fault; after each, processes and temporary files that it left are looked for. "
            "[CONTRIBUTING](../CONTRIBUTING.md#the-fault-suite) says how to add one.\n\n"
            + table(("what", "found"), self.rows())
            + "\nBy the folder of the tests:\n\n"
            + table(("folder", *KINDS), self.areas())
        )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


CARD = pytest.StashKey[Card]()


class Counting:
    """Gathers the reports in the process that prints."""

    def __init__(self, config: pytest.Config) -> None:
        self._card = config.stash[CARD]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one report."""
        self._card.add(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take what a process of pytest-xdist found at its end."""
        self._card.at_the_end += getattr(node, "workeroutput", {}).get("orphans", [])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Print the scorecard of a run of the suite, and write its page if that was asked for."""
        if "fault" not in config.option.markexpr and "hard" not in config.option.markexpr:
            return
        terminalreporter.section("scorecard")
        for what, found in self._card.rows():
            terminalreporter.line(f"{what:<24} {found}")
        for command in self._card.at_the_end:
            terminalreporter.line(f"still running at the end: {command}")
        if (path := config.option.scorecard) and not config.option.collectonly:
            path.write_text(self._card.page())


def pytest_configure(config: pytest.Config) -> None:
    """Start to count."""
    config.stash[CARD] = Card()
    config.pluginmanager.register(Counting(config), "slipway-scorecard")

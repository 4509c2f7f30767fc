"""``slipway``: help, ``plan``, ``tasks``, and what it says to a wrong manifest."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import VERBS, app, load
from steps import __version__
from steps.core.errors import ExitCode, Reason
from steps.tasks.table import TASKS
from tests.pipelines.conftest import manifest, slipway


def invoke(*arguments: str | Path) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_alone_it_prints_its_help() -> None:
    result = invoke()
    for word in ("Usage: slipway", "run", "plan", "serve", "tasks", "version"):
        assert word in result.output
    assert invoke("--help").exit_code == ExitCode.DONE


@pytest.mark.parametrize("command", ["run", "plan", "serve", "tasks", "version"])
def test_every_command_has_help(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == ExitCode.DONE
    assert f"Usage: slipway {command}" in result.output


def test_the_version_and_the_tasks_are_printed() -> None:
    assert invoke("version").stdout == f"{__version__}\n"
    listed = invoke("tasks").stdout
    for task in TASKS.values():
        assert task.name in listed
        assert task.title.split()[0] in listed


GOOD = manifest("tiny", "https://example.org/org/model", "text-classification")


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("  sourceKind: git_lfs\n", ""), "spec.sourceKind is missing"),
        (GOOD.replace("sourceKind", "sourcKind"), "Did you mean sourceKind?"),
        (GOOD + "  source: https://example.org/other\n", "spec.source appears twice"),
        (GOOD.replace("text-classification", "text-clasification"), "Did you mean 'text-classification'?"),
        (GOOD.replace("name: tiny", "name: Tiny"), "metadata.name"),
        (GOOD.replace("https://", "ext::sh -c 'touch pwned' https://"), "spec.source"),
        (f"{GOOD}---\n{GOOD}", "has 2 YAML documents"),
        ("", "has 0 YAML documents"),
        ("{", "is not YAML"),
        (
            "a: &a [x, x]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else '*a'] * 9)}]" for n in range(9)),
            "model.yaml",
        ),
    ],
    ids=range(10),
)
def test_a_wrong_manifest_is_refused(command: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(text)
    result = invoke(command, "-f", tmp_path / "model.yaml", "--store", tmp_path / "store")
    assert result.exit_code == ExitCode.INPUT
    assert said in result.stderr
    assert result.stderr.startswith("error: InvalidManifest: ")
    assert "hint: " in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["model.yaml"]


@pytest.mark.slow
def test_a_real_process_does_the_same(tmp_path: Path) -> None:
    done = slipway("run", "-f", "nowhere.yaml", cwd=tmp_path)
    assert done.returncode == ExitCode.INPUT
    assert (
        done.stderr == "error: InvalidManifest: There is no file nowhere.yaml.\n hint: Name the manifest with -f model.yaml.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_each_summary_is_the_first_line_of_help() -> None:
    for verb, summary in VERBS.items():
        assert (load(verb).help or "").splitlines()[0] == summary


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_both_help_flags_work(flag: str) -> None:
    for verb in (None, *VERBS):
        result = invoke(*filter(None, [verb, flag]))
        assert result.exit_code == ExitCode.DONE
        assert result.output.startswith(f"Usage: slipway {verb or ''}".rstrip())


def test_version_is_also_a_flag() -> None:
    assert invoke("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message", "command"),
    [
        (["rum"], "No such command 'rum'. Did you mean 'run'?", "slipway"),
        (["--fast"], "No such option: --fast", "slipway"),
        (["plan"], "Missing option '--file' / '-f'.", "slipway plan"),
        (["status", "a", "b"], "Got unexpected extra argument", "slipway status"),
        (["serve", "a", "--port", "70000"], "Invalid value for '--port'", "slipway serve"),
    ],
)
def test_wrong_arguments_are_an_error_and_a_hint(arguments: list[str], message: str, command: str) -> None:
    """The same two lines and the same exit code as those of a step."""
    result = invoke(*arguments)
    assert result.exit_code == ExitCode.INPUT
    error, hint = result.stderr.splitlines()
    assert error.startswith(f"error: InvalidInput: {message}")
    assert hint == f" hint: `{command} --help` lists the arguments."
    assert result.stdout == ""


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run", "-f", "nowhere.yaml"], "InvalidManifest"),
        (["run", "-f"], "InvalidInput"),
        (["run"], "InvalidInput"),
        (["plan", "-f", "nowhere.yaml"], "InvalidManifest"),
        (["submit", "-f", "nowhere.yaml"], "InvalidManifest"),
        (["status", "a", "b"], "InvalidInput"),
        (["status"], "MissingDependency"),
        (["retry", "a"], "MissingDependency"),
        (["doctor", "--stroe", "x"], "InvalidInput"),
    ],
)
def test_json_ends_with_the_failure(arguments: list[str], reason: str) -> None:
    """The last line on standard output is the result, for programs; a person reads the same on standard error."""
    result = invoke(arguments[0], "--json", *arguments[1:])
    last = json.loads(result.stdout.splitlines()[-1])
    assert last["event"] == "result"
    assert last["failure"]["reason"] == reason
    assert result.exit_code == Reason(reason).exit_code
    assert result.stderr.startswith(f"error: {reason}: ")


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "There is no archive"),
        ("text", "is not an archive that Slipway made"),
        ("empty", "is not an archive that Slipway made"),
        ("folder", "is a folder, not an archive"),
        ("fifo", "is not a regular file, not an archive"),
        ("below a file", "There is no archive"),
        ("long", "cannot be read: "),
    ],
)
def test_only_an_archive_is_served(kind: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    match kind:
        case "text":
            path.write_text(GOOD)
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "below a file":
            path.touch()
            path /= "x"
        case "long":
            path = tmp_path / ("x" * 300)
    result = invoke("serve", path, "--port", "0")
    assert result.exit_code == ExitCode.INPUT
    assert result.stderr.startswith("error: InvalidInput: ")
    assert str(path) in result.stderr
    assert said in result.stderr
    assert "elete" not in result.output


@pytest.mark.fault("refused")
@pytest.mark.parametrize("digest", ["zzz", "sha256:", "a" * 63, "a" * 65, "sha512:" + "a" * 64, " ", ""])
def test_a_wrong_digest_is_refused(digest: str, tmp_path: Path) -> None:
    result = invoke("serve", tmp_path / "x", "--sha256", digest)
    assert result.exit_code == ExitCode.INPUT
    assert "--sha256" in result.stderr
    assert "is not a SHA-256 digest" in result.stderr
    assert "elete" not in result.output


@pytest.mark.slow
@pytest.mark.fault("survived")
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 1.0])
def test_an_early_ctrl_c_is_told(seconds: float, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "submit", "--json", "-f", "model.yaml"]
    os.mkfifo(tmp_path / "model.yaml")  # nothing ever comes of it
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)  # any moment will do: Python starts, imports, or the command runs
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=60)
    assert "pipelines" not in error.partition("Traceback")[2]
    if process.returncode in (ExitCode.INTERRUPTED, ExitCode.INPUT):  # else Python itself was starting
        assert json.loads(output.splitlines()[-1])["event"] == "result"


@pytest.mark.fault("refused")
def test_a_port_in_use_is_told_at_once(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(gzip.compress(b""))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = invoke("serve", archive, "--port", str(port))
    assert result.exit_code == ExitCode.INPUT
    assert f"port {port} is in use; --port 0 takes a free one." in result.stderr
    assert result.stdout == ""


def complete(*words: str) -> list[str]:
    """What the shell would offer for the last of these words."""
    environment = {"_SLIPWAY_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return CliRunner().invoke(app, [], prog_name="slipway", env=environment).stdout.split()


def test_the_shell_completes_verbs_and_flags() -> None:
    assert complete("slipway", "st") == ["status"]
    assert complete("slipway", "plan", "--st") == ["--store"]


@pytest.mark.slow
def test_help_loads_no_verb() -> None:
    """The help of ``slipway``, and its completion, cost little more than starting Python."""
    program = "import sys; from pipelines.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"crd.types", "rich", "hera", "kubernetes", *(f"pipelines.commands.{verb}" for verb in VERBS)} & {*loaded}

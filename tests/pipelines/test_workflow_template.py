"""The WorkflowTemplate as Argo will read it: every reference meets something, every flag exists, nothing lands in code."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from crd.workflow import SPEC_PARAMETERS, TEMPLATE
from pipelines.installation import FOLDER
from pipelines.step_table import STEPS
from steps.command.flags import make_parser
from steps.core.errors import Reason

# A parameter of the run travels in an expression that makes no pair of braces of it.
REFERENCE = re.compile(r"\{\{(?:=replace\()?([^=].*?)(?:, '\{', '\{ '\))?\}\}")

ALWAYS = {"workflow.name", "workflow.status"}


@cache
def spec() -> dict[str, Any]:
    manifest = yaml.safe_load((FOLDER / "workflowtemplate.yaml").read_text())
    assert manifest["metadata"]["name"] == TEMPLATE
    found: dict[str, Any] = manifest["spec"]
    return found


def templates() -> dict[str, dict[str, Any]]:
    return {template["name"]: template for template in spec()["templates"]}


def containers() -> list[dict[str, Any]]:
    return [template for template in templates().values() if "container" in template]


def dags() -> list[dict[str, Any]]:
    return [template for template in templates().values() if "dag" in template]


def names(holder: dict[str, Any], part: str) -> list[str]:
    return [parameter["name"] for parameter in holder.get(part, {}).get("parameters", [])]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def references(value: Any) -> set[str]:
    return {reference for text in texts(value) for reference in REFERENCE.findall(text)}


def global_parameters() -> set[str]:
    return {f"workflow.parameters.{name}" for name in names(spec(), "arguments")}


@dataclass(frozen=True)
class Task:
    """A task in its DAG."""

    dag: dict[str, Any]
    task: dict[str, Any]

    @property
    def siblings(self) -> dict[str, dict[str, Any]]:
        return {task["name"]: task for task in self.dag["dag"]["tasks"]}

    def before(self) -> set[str]:
        """All tasks that have ended when this one starts."""
        found: set[str] = set()
        wanted = self.depends(self.task)
        while wanted:
            name = wanted.pop()
            if name not in found:
                found.add(name)
                wanted |= self.depends(self.siblings[name])
        return found

    @staticmethod
    def depends(task: dict[str, Any]) -> set[str]:
        return set(re.findall(r"[\w-]+", task.get("depends", "")))


def tasks() -> list[Task]:
    return [Task(dag, task) for dag in dags() for task in dag["dag"]["tasks"]]


@pytest.mark.parametrize("template", containers(), ids=lambda template: template["name"])
def test_a_steps_references_are_its_own_inputs(template: dict[str, Any]) -> None:
    own = {f"inputs.parameters.{name}" for name in names(template, "inputs")}
    assert references(template) <= own | ALWAYS
    assert own <= references(template), "an input that no flag takes"


@pytest.mark.parametrize("template", containers(), ids=lambda template: template["name"])
def test_values_travel_as_arguments_only(template: dict[str, Any]) -> None:
    container = dict(template["container"])
    args = container.pop("args")
    assert not references(container)
    assert not references({key: value for key, value in template.items() if key != "container"})
    assert container["command"] == ["python", "-P", "-m", f"steps.{template['name']}"]
    for argument in args:
        flag, _, value = argument.partition("=")
        assert not references(flag)
        # One whole value, so that nothing in it is ever joined to a text of ours.
        assert not references(value) or REFERENCE.fullmatch(value)


def test_only_the_mutex_has_another_reference() -> None:
    rest = {key: value for key, value in spec().items() if key != "templates"}
    assert references(rest.pop("synchronization")) == {"workflow.parameters.name"}
    assert not references(rest)
    kinds = {kind for template in templates().values() for kind in template if kind in ("script", "resource", "http", "plugin")}
    assert not kinds


@pytest.mark.parametrize("template", containers(), ids=lambda template: template["name"])
def test_every_flag_is_one_of_the_steps(template: dict[str, Any]) -> None:
    step = STEPS[template["name"]]
    given = {argument.partition("=")[0] for argument in template["container"]["args"]}
    known = {option for action in make_parser(step)._actions for option in action.option_strings}
    assert given <= known
    required = {f"--{name.replace('_', '-')}" for name, field in step.inputs.model_fields.items() if field.is_required()}
    assert required <= given
    assert names(template, "outputs") == list(step.outputs.model_fields)


@pytest.mark.parametrize("template", containers(), ids=lambda template: template["name"])
def test_outputs_are_read_where_steps_write(template: dict[str, Any]) -> None:
    folder = next(arg.partition("=")[2] for arg in template["container"]["args"] if arg.startswith("--outputs="))
    for output in template.get("outputs", {}).get("parameters", []):
        assert output["valueFrom"] == {"path": f"{folder}/{output['name']}"}
    assert any(folder.startswith(mount["mountPath"]) for mount in template["container"]["volumeMounts"])


@pytest.mark.parametrize("task", tasks(), ids=lambda task: f"{task.dag['name']}.{task.task['name']}")
def test_a_task_gives_its_template_what_it_takes(task: Task) -> None:
    template = templates()[task.task["template"]]
    assert names(task.task, "arguments") == names(template, "inputs")


@pytest.mark.parametrize("task", tasks(), ids=lambda task: f"{task.dag['name']}.{task.task['name']}")
def test_a_tasks_references_are_there_before_it_starts(task: Task) -> None:
    there = global_parameters() | {f"inputs.parameters.{name}" for name in names(task.dag, "inputs")}
    if "withParam" in task.task:
        there.add("item")
    for earlier in task.before():
        template = templates()[task.siblings[earlier]["template"]]
        there |= {f"tasks.{earlier}.outputs.parameters.{name}" for name in names(template, "outputs")}
    assert references(task.task) <= there
    assert task.task["name"] not in task.before(), "it waits for itself"


@pytest.mark.parametrize("dag", dags(), ids=lambda dag: dag["name"])
def test_a_dag_uses_all_that_it_takes(dag: dict[str, Any]) -> None:
    assert {f"inputs.parameters.{name}" for name in names(dag, "inputs")} <= references(dag)


def test_every_template_is_used() -> None:
    used = {task.task["template"] for task in tasks()} | {spec()["entrypoint"], spec()["onExit"]}
    assert used == set(templates())


def test_parameters_are_used_and_described() -> None:
    parameters = {parameter["name"]: parameter for parameter in spec()["arguments"]["parameters"]}
    assert all(parameter["description"] for parameter in parameters.values())
    assert global_parameters() <= references(spec())
    assert set(parameters) == {"name", *SPEC_PARAMETERS}
    for name in ("source_kind", "framework", "builder"):
        assert parameters[name]["value"] in parameters[name]["enum"]
    for name in ("include", "exclude"):
        assert json.loads(parameters[name]["value"]) == []


def test_required_parameters_have_no_default() -> None:
    required = {parameter["name"] for parameter in spec()["arguments"]["parameters"] if "value" not in parameter}
    assert required == {"name", "services"}


OVER_TIME = "Pod was active on the node longer than the specified deadline"
OVER_DISK = (
    'Usage of EmptyDir volume "tmp" exceeds the limit "20Gi". ',
    "Pod ephemeral local storage usage exceeds the total limit of containers 20Gi. ",
    'Container main exceeded its local ephemeral storage limit "20Gi". ',
)
LOST = (
    "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 9Gi. ",
    "Pod was terminated in response to imminent node shutdown.",
    "Preempted in order to admit critical pod",
)


def tried_again(template: dict[str, Any], status: str, code: int, message: str = "") -> bool:
    """What Argo makes of the retry expression; Python reads it alike, but for three operators."""
    expression = template["retryStrategy"]["expression"].replace("||", " or ").replace("&&", " and ")
    expression = re.sub(r"(lastRetry\.message) matches ('[^']*')", r"re.search(\2, \1)", expression)
    return bool(eval(expression, {"re": re, "lastRetry": SimpleNamespace(status=status, exitCode=str(code), message=message)}))


@pytest.mark.parametrize("template", containers(), ids=lambda template: template["name"])
def test_only_what_may_pass_is_tried_again(template: dict[str, Any]) -> None:
    for reason in Reason:
        if reason is not Reason.INTERRUPTED:  # Ctrl-C, which no pod gets
            said = f'main: Error (exit code {reason.exit_code:d}): {{"reason":"{reason}","message":"{OVER_TIME} {LOST}"}}'
            assert tried_again(template, "Failed", reason.exit_code, said) == reason.retryable, reason
    for code in (64, 65, 137):
        assert not tried_again(template, "Failed", code, "OOMKilled (exit code 137)"), "Argo's executor; killed for its memory"
    strategy = template["retryStrategy"]
    polls = template["name"] == "cloudbuild"  # at what goes on elsewhere, for as long as the run may take
    assert polls or int(strategy["limit"]) <= 5
    assert strategy["backoff"]["maxDuration"]
    assert "retryPolicy" not in strategy, "an expression alone means Always; anything else would be ANDed to it"


@pytest.mark.parametrize("template", containers(), ids=lambda template: template["name"])
def test_a_pod_that_was_lost_is_tried_again(template: dict[str, Any]) -> None:
    assert tried_again(template, "Error", -1, "pod deleted")
    assert tried_again(template, "Failed", -1), "nobody knows how it ended"
    for message in LOST:
        for code in (137, 143, -1):
            assert tried_again(template, "Failed", code, message), (code, message)


@pytest.mark.parametrize("template", containers(), ids=lambda template: template["name"])
def test_a_pod_beyond_its_limits_is_final(template: dict[str, Any]) -> None:
    """The kubelet sends SIGTERM first, SIGKILL to what does not heed it, and neither to what never started."""
    for message in (OVER_TIME, *OVER_DISK):
        for code in (137, 143, -1):
            assert not tried_again(template, "Failed", code, message), (code, message)


def test_every_step_and_the_run_have_a_deadline() -> None:
    assert all(int(template["activeDeadlineSeconds"]) > 0 for template in containers())
    assert max(int(template["activeDeadlineSeconds"]) for template in containers()) < spec()["activeDeadlineSeconds"]


def test_what_is_done_is_cleared_away() -> None:
    assert spec()["podGC"] == {"strategy": "OnWorkflowSuccess"}
    assert 0 < spec()["ttlStrategy"]["secondsAfterSuccess"] < spec()["ttlStrategy"]["secondsAfterFailure"]


@pytest.mark.cluster
def test_argo_finds_nothing_to_complain_about() -> None:
    """Needs no cluster, but the `argo` program, which is there where a cluster is."""
    done = subprocess.run(["argo", "lint", "--offline", "--strict", FOLDER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no linting errors found" in done.stdout

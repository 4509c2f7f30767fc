"""The graph as an Argo WorkflowTemplate, written through Hera.

Every step is a container template: its inputs become flags, its outputs are files that Argo reads. Values are arguments of a
fixed command, never text in code or in a shell. All parameters of the run go to fetch, which refuses wrong ones before it
fetches anything. Only fields that both Argo 3.7 and 4.x understand are used. Which step needs which output is in
``steps.core.graph``; nothing here repeats it.

A pod runs as ``pipelines.pod_security`` says and mounts no token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from hera.shared.serialization import MISSING
from hera.workflows import DAG, Container, Parameter, RetryStrategy, Task, WorkflowTemplate
from hera.workflows.models import (
    Backoff,
    ConfigMapEnvSource,
    EmptyDirVolumeSource,
    EnvFromSource,
    EnvVar,
    ExecutorConfig,
    KeyToPath,
    Metadata,
    Mutex,
    PodGC,
    PodSecurityContext,
    Quantity,
    ResourceRequirements,
    SecretVolumeSource,
    SecurityContext,
    Synchronization,
    TTLStrategy,
    ValueFrom,
    Volume,
    VolumeMount,
)

from crd.workflow import TEMPLATE
from pipelines.names import (
    CREDENTIALS_SECRET,
    EXECUTOR_ACCOUNT,
    IMAGE,
    LABELS,
    REGISTRY_FOLDER,
    REGISTRY_SECRET,
    SECRETS_FOLDER,
    SETTINGS,
    STEPS_ACCOUNT,
    VERSION_LABEL,
)
from pipelines.pod_security import CONTAINER_SECURITY, POD_SECURITY
from pipelines.step_table import STEPS
from steps import __version__
from steps.core.graph import (
    BUILD,
    FETCH,
    MODEL_NODES,
    REPORT,
    SERVICE_NODES,
    STEP_DEADLINES,
    InputSource,
    Node,
    Output,
    Param,
    Service,
)
from steps.frameworks.supported import DEFAULT_FRAMEWORK, Framework
from steps.images.builders.supported import IN_CLUSTER
from steps.sources.supported import DEFAULT_SOURCE, SourceKind

OUTPUTS = "/tmp/outputs"

# A step is tried again after a transient failure: exit code 75 is the steps' own for it, 143 is a pod that was terminated, and
# the status Error is a pod that was deleted. The code is a text, "-1" where there is none; 64 and 65 belong to Argo's executor.
# Pods that the kubelet ended have these codes, too, or 137, with the kubelet's reason at the start of the message. A pod that
# exceeded its own limit of time or disk would exceed it again; one that the node evicted may succeed elsewhere.
EXCEEDED = (
    "^(Pod was active on the node longer than|Usage of EmptyDir volume|Pod ephemeral local storage usage|"
    "Container .* exceeded its local ephemeral storage)"
)
EVICTED = "^(The node was low on resource|Pod was terminated in response to imminent node shutdown|Preempted in order to admit)"
RETRY = (
    f"not (lastRetry.message matches '{EXCEEDED}') && "
    f"(lastRetry.status == 'Error' || lastRetry.exitCode in ['75', '143', '-1'] || lastRetry.message matches '{EVICTED}')"
)
DAY = 24 * 3600
TRANSIENT_RETRY = RetryStrategy(limit="3", expression=RETRY, backoff=Backoff(duration="5s", factor="2", max_duration="10m"))
# While a build runs in Cloud Build its step ends with 75 as well: a short-lived pod looks at it now and then, none waits.
POLLING = RetryStrategy(limit="600", expression=RETRY, backoff=Backoff(duration="20s", factor="1", max_duration="8h"))

# Requests and limits of a step by its image; scratch is the limit of its disk.
RESOURCES: Mapping[str, Mapping[str, str]] = {
    "light": {"cpu": "100m", "memory": "256Mi", "memory_limit": "1Gi", "scratch": "20Gi"},
    "ml": {"cpu": "500m", "memory": "1Gi", "memory_limit": "8Gi", "scratch": "20Gi"},
}

# name: (description, default or None when required, choices)
PARAMETERS: Mapping[str, tuple[str, str | None, tuple[str, ...]]] = {
    "name": ("Name of the model: a DNS label of at most 40 characters", None, ()),
    "source_kind": ("Where the model comes from", DEFAULT_SOURCE, tuple(SourceKind)),
    "source": ("Address of the model, of the form that the kind of source requires", "", ()),
    "services": ('Tasks to serve, as a JSON list: ["image-classification"], or ["auto"]', None, ()),
    "framework": ("Library that the model was made with", DEFAULT_FRAMEWORK, tuple(Framework)),
    "revision": ("Branch, tag or commit; the default branch when empty", "", ()),
    "include": ("Patterns of files to fetch besides those chosen by default, as a JSON list", "[]", ()),
    "exclude": ("Patterns of files not to fetch, as a JSON list", "[]", ()),
    "expected_set_digest": ("Set digest that the files must have; any other content is refused", "", ()),
    "builder": ("Builder of the images; when empty, the one in the settings", "", ("", *IN_CLUSTER)),
}


def workflow_template(version: str = __version__) -> WorkflowTemplate:
    """Return the template ``slipway-ingest``; ``version`` is the tag of the images."""
    with WorkflowTemplate(
        name=TEMPLATE,
        entrypoint="ingest",
        on_exit=REPORT.name,
        arguments=[
            # Hera would write None as the text `null`, and Argo would take it for a default.
            Parameter(name=name, description=text, value=MISSING if default is None else default, enum=list(choices) or None)
            for name, (text, default, choices) in PARAMETERS.items()
        ],
        labels={**LABELS, VERSION_LABEL: version},
        annotations={
            "workflows.argoproj.io/title": "Slipway: from a model's name to checked service images",
            "workflows.argoproj.io/description": (
                "Fetches a model, checks every byte, packages a service for each task, builds its image, and tests it."
            ),
        },
        service_account_name=STEPS_ACCOUNT,
        automount_service_account_token=False,
        executor=ExecutorConfig(service_account_name=EXECUTOR_ACCOUNT),
        security_context=PodSecurityContext.model_validate(POD_SECURITY),
        pod_spec_patch=pod_spec_patch(),
        pod_metadata=Metadata(labels=dict(LABELS)),
        synchronization=Synchronization(mutexes=[Mutex(name=f"slipway-{{{{{argument('name')}}}}}")]),
        active_deadline_seconds=8 * 3600,
        ttl_strategy=TTLStrategy(seconds_after_success=DAY, seconds_after_failure=7 * DAY),
        pod_gc=PodGC(strategy="OnWorkflowSuccess"),
    ) as template:
        for node in (*MODEL_NODES, *SERVICE_NODES):
            container(node, version)
        container(REPORT, version, {"report_run": "{{workflow.name}}", "status": "{{workflow.status}}"})
        service_dag()
        run_dag()
    return template


def container(node: Node, version: str, fixed: Mapping[str, str] | None = None) -> Container:
    """Return a step as a container template. ``fixed`` are inputs that come from the workflow itself."""
    fixed = fixed or {}
    step = STEPS[node.name]
    pushes = node is BUILD
    names = [name for name in node.inputs if name not in fixed]
    size = RESOURCES[node.image]
    flags = {name: fixed.get(name, f"{{{{inputs.parameters.{name}}}}}") for name in [*names, *fixed]}
    secrets = [credentials(), *([registry()] if pushes else [])]
    own = [f"--outputs={OUTPUTS}", "--scratch=/tmp/scratch"]
    if node is not REPORT:
        own.append("--run={{workflow.name}}")
    return Container(
        name=node.name,
        image=IMAGE.format(image=node.image, version=version),
        command=["python", "-P", "-m", f"steps.{node.name}"],
        args=[*(f"--{name.replace('_', '-')}={value}" for name, value in flags.items()), *own],
        inputs=[Parameter(name=name) for name in names],
        outputs=[
            Parameter(name=name, description=field.description, value_from=ValueFrom(path=f"{OUTPUTS}/{name}"))
            for name, field in step.outputs.model_fields.items()
        ],
        env=[EnvVar(name="DOCKER_CONFIG", value=REGISTRY_FOLDER)] if pushes else None,
        env_from=[EnvFromSource(config_map_ref=ConfigMapEnvSource(name=SETTINGS, optional=False))],
        resources=ResourceRequirements(
            requests={"cpu": Quantity(size["cpu"]), "memory": Quantity(size["memory"])},
            limits={"memory": Quantity(size["memory_limit"])},
        ),
        security_context=SecurityContext.model_validate(CONTAINER_SECURITY),
        volumes=[Volume(name="tmp", empty_dir=EmptyDirVolumeSource(size_limit=Quantity(size["scratch"]))), *secrets],
        volume_mounts=[
            VolumeMount(name="tmp", mount_path="/tmp"),
            *(VolumeMount(name=each.name, mount_path=f"{SECRETS_FOLDER}/{each.name}", read_only=True) for each in secrets),
        ],
        active_deadline_seconds=str(STEP_DEADLINES[node.name]),
        retry_strategy=POLLING if node.builder else TRANSIENT_RETRY,
    )


def credentials() -> Volume:
    """Return the volume with the files that settings name: a Secret, for clusters whose pods have no identity for the store."""
    return Volume(
        name="credentials", secret=SecretVolumeSource(secret_name=CREDENTIALS_SECRET, optional=True, default_mode=0o440)
    )


def registry() -> Volume:
    """Return the volume with what `kubectl create secret docker-registry` makes, as the ``config.json`` of registry clients."""
    items = [KeyToPath(key=".dockerconfigjson", path="config.json")]
    source = SecretVolumeSource(secret_name=REGISTRY_SECRET, optional=True, default_mode=0o440, items=items)
    return Volume(name="registry", secret=source)


def service_dag() -> None:
    """Add the DAG of one service to the template."""
    needed = needed_by_services()
    with DAG(name="service", inputs=[Parameter(name="service"), *(Parameter(name=name) for name in needed)]):
        tasks: dict[str, Task] = {}
        given = {name: f"inputs.parameters.{name}" for name in needed}
        for node in SERVICE_NODES:
            # Both are names of steps, or empty: Argo evaluates the quotes after it has inserted the output.
            when = f"'{{{{tasks.{BUILD.name}.outputs.parameters.awaits}}}}' == '{node.name}'" if node.builder else None
            link(node, Task(name=node.name, template=node.name, arguments=arguments(node, given), when=when), tasks)


def run_dag() -> None:
    """Add the DAG of the whole run to the template."""
    with DAG(name="ingest"):
        tasks: dict[str, Task] = {}
        for node in MODEL_NODES:
            link(node, Task(name=node.name, template=node.name, arguments=arguments(node, {})), tasks)
        needed = needed_by_services()
        passed = {name: f"{{{{tasks.{source.node}.outputs.parameters.{name}}}}}" for name, source in needed.items()}
        fan_out = Task(
            name="service",
            template="service",
            with_param=f"{{{{tasks.{FETCH.name}.outputs.parameters.services}}}}",
            arguments=[Parameter(name=name, value=value) for name, value in {"service": "{{item}}", **passed}.items()],
        )
        for earlier in dict.fromkeys(source.node for source in needed.values()):
            tasks[earlier] >> fan_out


def link(node: Node, task: Task, tasks: dict[str, Task]) -> None:
    """Set the dependencies of a task from the graph: Hera does not infer them from references."""
    for earlier in dict.fromkeys(source.node for source in node.inputs.values() if isinstance(source, Output)):
        if earlier in tasks:
            tasks[earlier] >> task
    tasks[node.name] = task


def argument(name: str) -> str:
    """Return the expression for a parameter of the run, which arrives as the text that it is.

    Argo replaces ``{{…}}`` in what it has inserted again, so ``{{=1+1}}`` would arrive as 2. No right value has a brace.
    """
    return f"=replace(workflow.parameters.{name}, '{{', '{{ ')"


def arguments(node: Node, given: Mapping[str, str]) -> list[Parameter]:
    """Return a task's arguments as references; ``given`` are those that the enclosing template has as inputs."""

    def reference(source: InputSource) -> str:
        match source:
            case Param(name):
                return argument(name)
            case Service():
                return "inputs.parameters.service"
            case Output(earlier, name):
                return given.get(name, f"tasks.{earlier}.outputs.parameters.{name}")

    return [Parameter(name=name, value=f"{{{{{reference(source)}}}}}") for name, source in node.inputs.items()]


def needed_by_services() -> dict[str, Output]:
    """Return the outputs that the steps of a service take from the steps before them, by name."""
    model_nodes = {node.name for node in MODEL_NODES}
    sources = [source for node in SERVICE_NODES for source in node.inputs.values()]
    return {source.name: source for source in sources if isinstance(source, Output) and source.node in model_nodes}


def pod_spec_patch() -> str:
    """Return the restrictions for Argo's own two containers, as the JSON patch that their pod is merged with.

    In a namespace with Pod Security ``restricted`` they would be refused otherwise.
    """
    return json.dumps(
        {
            "initContainers": [{"name": "init", "securityContext": CONTAINER_SECURITY}],
            "containers": [{"name": "wait", "securityContext": CONTAINER_SECURITY}],
        }
    )

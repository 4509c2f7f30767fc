"""The graph as an Argo WorkflowTemplate, written through Hera.

Every step is a container template: its inputs become flags, its outputs are files that Argo reads. Values travel as arguments
of a fixed command, never as text in code or a shell. What both Argo 3.7 and 4.x understand is used, and nothing else.

The pod runs without root, without a token, on a read-only root: Argo's own two containers get the same by ``podSpecPatch``,
because in a namespace with Pod Security ``restricted`` they would be refused otherwise.
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
from steps.core.graph import BUILD, MODEL_NODES, REPORT, SERVICE_NODES, InputSource, Node, Output, Param, Service
from steps.frameworks.supported import DEFAULT_FRAMEWORK, Framework
from steps.images.builders.supported import IN_CLUSTER
from steps.sources.supported import DEFAULT_SOURCE, SourceKind

OUTPUTS = "/tmp/outputs"

# A step is repeated after what may pass: 75 is the steps' own code for it, 143 a pod that was asked to go, status Error a pod
# that is gone. The code is a text, and "-1" where there is none; 64 and 65 belong to Argo's executor. What the kubelet ended
# has these codes too, or 137: its reason stands in front of the message. A pod that took more than was its own, time or
# disk, would do so again; one that the node could not keep would not.
SPENT = (
    "^(Pod was active on the node longer than|Usage of EmptyDir volume|Pod ephemeral local storage usage|"
    "Container .* exceeded its local ephemeral storage)"
)
LOST = "^(The node was low on resource|Pod was terminated in response to imminent node shutdown|Preempted in order to admit)"
RETRY = (
    f"not (lastRetry.message matches '{SPENT}') && "
    f"(lastRetry.status == 'Error' || lastRetry.exitCode in ['75', '143', '-1'] || lastRetry.message matches '{LOST}')"
)
DAY = 24 * 3600
AGAIN = RetryStrategy(limit="3", expression=RETRY, backoff=Backoff(duration="5s", factor="2", max_duration="10m"))
# A build that goes on elsewhere makes the step end with 75 as well: a short pod looks now and then, none waits.
POLLING = RetryStrategy(limit="600", expression=RETRY, backoff=Backoff(duration="20s", factor="1", max_duration="8h"))

# What each kind of image asks for, and may take at most; scratch is the disk that the step may fill.
RESOURCES: Mapping[str, Mapping[str, str]] = {
    "light": {"cpu": "100m", "memory": "256Mi", "memory_limit": "1Gi", "scratch": "20Gi"},
    "ml": {"cpu": "500m", "memory": "1Gi", "memory_limit": "8Gi", "scratch": "20Gi"},
}
DEADLINES = {"fetch": 4 * 3600, "load": 3600, "build": 2 * 3600}
DEADLINE = 1800

# name: (description, default or None when required, choices)
PARAMETERS: Mapping[str, tuple[str, str | None, tuple[str, ...]]] = {
    "name": ("Name of the model: a DNS label of at most 40 characters", None, ()),
    "source_kind": ("Where the model comes from", DEFAULT_SOURCE, tuple(SourceKind)),
    "source": ("Address of the model, of the form that the kind of source requires", "", ()),
    "services": ('Tasks to serve, as a JSON list: ["image-classification"], or ["auto"]', None, ()),
    "framework": ("Library that the model is made with", DEFAULT_FRAMEWORK, tuple(Framework)),
    "revision": ("Branch, tag or commit; the default branch when empty", "", ()),
    "include": ("Patterns of files to take beside the usual choice, as a JSON list", "[]", ()),
    "exclude": ("Patterns of files to leave out, as a JSON list", "[]", ()),
    "expected_set_digest": ("Refuse any other content", "", ()),
    "builder": ("What makes the image; when empty, what the settings say", "", ("", *IN_CLUSTER)),
}


def workflow_template(version: str = __version__) -> WorkflowTemplate:
    """The template ``slipway-ingest``; ``version`` is the tag of the images."""
    with WorkflowTemplate(
        name=TEMPLATE,
        entrypoint="ingest",
        on_exit=REPORT.name,
        arguments=[
            # Hera would write None as the text `null`, a default that nobody means.
            Parameter(name=name, description=text, value=MISSING if default is None else default, enum=list(choices) or None)
            for name, (text, default, choices) in PARAMETERS.items()
        ],
        labels={**LABELS, VERSION_LABEL: version},
        annotations={
            "workflows.argoproj.io/title": "Slipway: from a model to a service",
            "workflows.argoproj.io/description": (
                "Fetches a model, checks every byte, packages one service for each task, boots it and compares its answer."
            ),
        },
        service_account_name=STEPS_ACCOUNT,
        automount_service_account_token=False,
        executor=ExecutorConfig(service_account_name=EXECUTOR_ACCOUNT),
        security_context=PodSecurityContext.model_validate(POD_SECURITY),
        pod_spec_patch=pod_spec_patch(),
        pod_metadata=Metadata(labels=dict(LABELS)),
        synchronization=Synchronization(mutexes=[Mutex(name="slipway-{{workflow.parameters.name}}")]),
        active_deadline_seconds=8 * 3600,
        ttl_strategy=TTLStrategy(seconds_after_success=DAY, seconds_after_failure=7 * DAY),
        pod_gc=PodGC(strategy="OnWorkflowSuccess"),
    ) as template:
        for node in (*MODEL_NODES, *SERVICE_NODES):
            container(node, version)
        container(REPORT, version, {"report_run": "{{workflow.name}}", "status": "{{workflow.status}}"})
        branch()
        trunk()
    return template


def container(node: Node, version: str, fixed: Mapping[str, str] | None = None) -> Container:
    """One step as a container template. ``fixed`` gives inputs that come from the workflow itself."""
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
        command=["python", "-m", f"steps.{node.name}"],
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
        active_deadline_seconds=str(DEADLINES.get(node.name, DEADLINE)),
        retry_strategy=POLLING if node.builder else AGAIN,
    )


def credentials() -> Volume:
    """Files that settings point to, where the cluster gives pods no identity of their own for the store: a Secret, if any."""
    return Volume(
        name="credentials", secret=SecretVolumeSource(secret_name=CREDENTIALS_SECRET, optional=True, default_mode=0o440)
    )


def registry() -> Volume:
    """What `kubectl create secret docker-registry` makes, under the name that every client of registries looks for."""
    items = [KeyToPath(key=".dockerconfigjson", path="config.json")]
    source = SecretVolumeSource(secret_name=REGISTRY_SECRET, optional=True, default_mode=0o440, items=items)
    return Volume(name="registry", secret=source)


def branch() -> None:
    """The DAG of one service."""
    needed = needed_from_trunk()
    with DAG(name="service", inputs=[Parameter(name="service"), *(Parameter(name=name) for name in needed)]):
        tasks: dict[str, Task] = {}
        given = {name: f"inputs.parameters.{name}" for name in needed}
        for node in SERVICE_NODES:
            # Both are names of ours, or empty: Argo reads the quotes only after it has put the output in.
            when = f"'{{{{tasks.{BUILD.name}.outputs.parameters.awaits}}}}' == '{node.name}'" if node.builder else None
            link(node, Task(name=node.name, template=node.name, arguments=arguments(node, given), when=when), tasks)


def trunk() -> None:
    """The DAG of the whole run."""
    with DAG(name="ingest"):
        tasks: dict[str, Task] = {}
        for node in MODEL_NODES:
            link(node, Task(name=node.name, template=node.name, arguments=arguments(node, {})), tasks)
        needed = needed_from_trunk()
        passed = {name: f"{{{{tasks.{source.node}.outputs.parameters.{name}}}}}" for name, source in needed.items()}
        fan_out = Task(
            name="service",
            template="service",
            with_param="{{tasks.fetch.outputs.parameters.services}}",
            arguments=[Parameter(name=name, value=value) for name, value in {"service": "{{item}}", **passed}.items()],
        )
        for earlier in dict.fromkeys(source.node for source in needed.values()):
            tasks[earlier] >> fan_out


def link(node: Node, task: Task, tasks: dict[str, Task]) -> None:
    """Hera does not infer dependencies from references: set them from the graph."""
    for earlier in dict.fromkeys(source.node for source in node.inputs.values() if isinstance(source, Output)):
        if earlier in tasks:
            tasks[earlier] >> task
    tasks[node.name] = task


def arguments(node: Node, given: Mapping[str, str]) -> list[Parameter]:
    """A task's arguments as references; ``given`` names those that the enclosing template has as inputs."""

    def reference(source: InputSource) -> str:
        match source:
            case Param(name):
                return f"workflow.parameters.{name}"
            case Service():
                return "inputs.parameters.service"
            case Output(earlier, name):
                return given.get(name, f"tasks.{earlier}.outputs.parameters.{name}")

    return [Parameter(name=name, value=f"{{{{{reference(source)}}}}}") for name, source in node.inputs.items()]


def needed_from_trunk() -> dict[str, Output]:
    """What the branches take from the steps before them, by name."""
    trunk_names = {node.name for node in MODEL_NODES}
    sources = [source for node in SERVICE_NODES for source in node.inputs.values()]
    return {source.name: source for source in sources if isinstance(source, Output) and source.node in trunk_names}


def pod_spec_patch() -> str:
    """The restrictions of a container for Argo's own two, as the JSON patch that their pod is merged with.

    In a namespace with Pod Security ``restricted`` they would be refused otherwise.
    """
    return json.dumps(
        {
            "initContainers": [{"name": "init", "securityContext": CONTAINER_SECURITY}],
            "containers": [{"name": "wait", "securityContext": CONTAINER_SECURITY}],
        }
    )

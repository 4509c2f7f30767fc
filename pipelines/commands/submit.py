"""``slipway submit``: a manifest becomes a Model in the cluster, or at once a Workflow, as ``argo submit --from`` makes one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, cast

import typer

from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import KubernetesObject, Manifest, ModelObject
from crd.manifest import read_manifest
from crd.observe import spec_failure
from crd.resource_kinds import MODEL, WORKFLOW, WORKFLOW_TEMPLATE
from crd.types import Model
from crd.workflow import TEMPLATE, workflow_parameters
from pipelines.commands.options import ContextOption, JsonOption, ManifestOption, NamespaceOption, WatchOption
from pipelines.commands.watching import watch_run
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.store.supported import bucket_addresses


@dataclass(frozen=True)
class Submitted:
    """What was submitted: kind and name of the object, and ``what`` was done: ``created``, ``changed`` or ``unchanged``."""

    kind: str
    name: str
    what: str


def submit(
    file: ManifestOption,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    workflow: Annotated[bool, typer.Option("--workflow", help="Start a Workflow at once, without a Model.")] = False,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> int:
    """Create or change a Model in the cluster.

    The cluster then runs the whole pipeline for it. A Model that is there already and is the same starts no new run.
    """
    model = read_manifest(file)
    cluster = KubernetesClient.connect(namespace_of(model, namespace), context)
    made = (submit_workflow if workflow else submit_model)(cluster, model)
    if as_json:
        print(json.dumps({"event": "submitted", "namespace": cluster.namespace, **asdict(made)}), flush=True)
    else:
        print(f"{made.kind} {made.name} {made.what} in the namespace {cluster.namespace}.", flush=True)
        if made.what == "unchanged":
            print(f"A finished run is not repeated. `slipway retry {made.name}` repeats a run that failed.", flush=True)
    return watch_run(cluster, made.name, as_json=as_json) if watch else ExitCode.DONE


def namespace_of(model: Model, named: str) -> str:
    """Return the namespace for a Model: the one named, or the manifest's own. Raises ``InvalidInput`` when they differ."""
    own = model.metadata.namespace or ""
    if named and own and named != own:
        raise SlipwayError(
            Reason.INVALID_INPUT, f"The manifest says namespace {own}, and -n says {named}.", hint="Leave one of them out."
        )
    return named or own


def resource(model: Model) -> ModelObject:
    """Return the Model as it goes to the API server: what the manifest says, and no defaults."""
    return cast(ModelObject, model.model_dump(mode="json", by_alias=True, exclude_unset=True))


def adhoc_workflow(model: Model) -> Manifest:
    """Return a Workflow without a Model: the operator ignores it, and every submission creates another one."""
    name, spec = model.metadata.name, resource(model)["spec"]
    parameters = [{"name": key, "value": value} for key, value in workflow_parameters(name, spec).items()]
    return {
        "apiVersion": WORKFLOW.api_version,
        "kind": WORKFLOW.kind,
        "metadata": {"generateName": f"adhoc-{name}-"},
        "spec": {"workflowTemplateRef": {"name": TEMPLATE}, "arguments": {"parameters": parameters}},
    }


def submit_model(cluster: KubernetesClient, model: Model) -> Submitted:
    """Create the Model, or change it to what the manifest says; an unchanged one starts no run."""
    check_reachable(model)
    before = cluster.find(MODEL, model.metadata.name)
    manifest = resource(model)
    manifest["metadata"].pop("namespace", None)
    after = cluster.apply(cast(Manifest, manifest))
    return Submitted(MODEL.kind, model.metadata.name, _what(before, after))


def submit_workflow(cluster: KubernetesClient, model: Model) -> Submitted:
    """Create a Workflow from the template that is installed."""
    check_reachable(model)
    check_accepted(model)
    if cluster.find(WORKFLOW_TEMPLATE, TEMPLATE) is None:  # Argo would take the Workflow, and fail it later
        raise SlipwayError(
            Reason.MISSING_DEPENDENCY,
            f"There is no WorkflowTemplate {TEMPLATE} in the namespace {cluster.namespace}.",
            hint=f"slipway install -n {cluster.namespace}",
        )
    made = cluster.create(adhoc_workflow(model))
    return Submitted(WORKFLOW.kind, made["metadata"]["name"], "created")


def check_reachable(model: Model) -> None:
    """Raise ``InvalidSource`` for a folder of this machine, which no pod can see."""
    source = model.spec.source
    if source and not model.spec.source_kind.source.is_shared(source):
        raise SlipwayError(
            Reason.INVALID_SOURCE,
            f"The source {source} is a folder of this machine; the cluster's steps cannot read it.",
            hint=f"Upload the folder to a bucket and name it as {bucket_addresses()}, or use `slipway run` on this machine.",
        )


def check_accepted(model: Model) -> None:
    """Raise what the operator would write into the status: of a Workflow without a Model it says nothing.

    Argo itself does not hold a parameter to its ``enum``, and a step that refuses comes after those before it.
    """
    problem = spec_failure(resource(model)["spec"])
    if problem:
        raise SlipwayError(problem.reason, problem.message, hint=problem.hint)


def _what(before: KubernetesObject | None, after: KubernetesObject) -> str:
    if before is None:
        return "created"
    return "unchanged" if before["metadata"].get("generation") == after["metadata"].get("generation") else "changed"

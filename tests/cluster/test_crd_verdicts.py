"""The API server and the types in ``crd`` accept the same Models, and read the same from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from kubernetes.client import ApiClient, ApiException, CustomObjectsApi
from kubernetes.dynamic import DynamicClient
from pydantic import ValidationError

from crd.schema import COLUMNS, GROUP, VERSION
from crd.status import Condition, LastFailure, ModelStatus, ServiceStatus
from crd.types import PLURAL, Model
from steps.tasks.table import AUTO, resolve
from tests.crd.model_objects import changed_once, mixtures

MODEL = (GROUP, VERSION)
SPEC: dict[str, Any] = {
    "services": ["text-classification"],
    "sourceKind": "git_lfs",
    "source": "https://example.org/a/b",
}
GOOD = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "Model",
    "metadata": {"name": "good"},
    "spec": SPEC,
}


def refusal(call: Callable[[], Any]) -> str:
    """Why the API server refuses a request; empty where it accepts it."""
    try:
        call()
    except ApiException as error:
        if error.status not in (400, 422):
            raise
        return str(json.loads(error.body)["message"])
    return ""


@pytest.fixture(scope="module")
def valid(models: CustomObjectsApi, namespace: str) -> Callable[[dict[str, Any]], bool]:
    """The verdict on a Model, which must be the same on both sides; a valid one must mean the same on both sides, too."""

    def judge(body: dict[str, Any]) -> bool:
        kept: dict[str, Any] = {}

        def create() -> None:
            kept.update(
                models.create_namespaced_custom_object(
                    *MODEL, namespace, PLURAL, body, dry_run="All", field_validation="Strict"
                )
            )

        api_message, python_message = refusal(create), ""
        try:
            model = Model.model_validate(body)
        except ValidationError as error:
            python_message = str(error)
        assert bool(api_message) == bool(python_message), (
            f"{json.dumps(body)}\nAPI server: {api_message}\nPython: {python_message}"
        )
        if not api_message:
            spec = kept["spec"] | {
                "services": [name if name == AUTO else resolve(name).name for name in kept["spec"]["services"]]
            }
            stored = {name: value for name, value in spec.items() if value is not None}  # null and absent mean the same
            assert stored == model.spec.model_dump(by_alias=True, mode="json", exclude_none=True)
        return not api_message

    return judge


def test_both_agree_on_any_changed_model(valid: Callable[[dict[str, Any]], bool]) -> None:
    verdicts = [valid(body) for body in changed_once()]
    print(f"{len(verdicts)} Models, {sum(verdicts)} of them valid")
    assert len(verdicts) > 2000
    assert 0.1 < sum(verdicts) / len(verdicts) < 0.9


def test_both_judge_alike_whatever_is_mixed(valid: Callable[[dict[str, Any]], bool]) -> None:
    verdicts: dict[str, bool] = {}

    @settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(mixtures())
    def judge(body: dict[str, Any]) -> None:
        verdicts[json.dumps(body, sort_keys=True)] = valid(body)

    judge()
    print(f"{len(verdicts)} different Models, {sum(verdicts.values())} of them valid")
    assert len(verdicts) >= 1000
    assert 0.3 < sum(verdicts.values()) / len(verdicts) < 0.9


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"source": ""}, "spec.source: Required value: source is required with sourceKind git_lfs: write the address"),
        ({"source": "https://user:hunter2@example.org/a"}, "spec.source: Invalid value"),
        ({"source": "https://example.org/{{workflow.name}}"}, "https://HOST/PATH, with no user name, password, query"),
        (
            {"sourceKind": "upload", "source": "--x"},
            "write a folder, gs://BUCKET/PREFIX or s3://BUCKET/PREFIX, with no",
        ),
        ({"services": ["ner", "token-classification"]}, "token-classification and ner are the same task: keep one of them"),
        ({"services": ["ner", "ner"]}, "spec.services[1]: Duplicate value"),
        ({"services": ["nerd"]}, 'supported values: "auto", "text-classification", "token-classification"'),
        ({"revsion": "main"}, 'unknown field "spec.revsion"'),
    ],
)
def test_a_refusal_says_what_to_write(models: CustomObjectsApi, namespace: str, change: dict[str, Any], expected: str) -> None:
    body = {**GOOD, "spec": {**SPEC, **change}}
    message = refusal(
        lambda: models.create_namespaced_custom_object(
            *MODEL, namespace, PLURAL, body, dry_run="All", field_validation="Strict"
        )
    )
    assert expected in message
    assert "hunter2" not in message


def test_a_long_or_dotted_name_is_refused(models: CustomObjectsApi, namespace: str) -> None:
    for name in ("a" * 41, "a.b"):
        body = GOOD | {"metadata": {"name": name}}
        message = refusal(partial(models.create_namespaced_custom_object, *MODEL, namespace, PLURAL, body))
        assert "metadata.name" in message
        assert "write at most 40 lower-case letters, digits and dashes" in message


@pytest.fixture(scope="module")
def stored(models: CustomObjectsApi, namespace: str) -> str:
    """The name of a stored Model, created with a status that the API server must ignore."""
    body = GOOD | {"metadata": {"name": "stored"}, "status": {"workflow": "of-mine"}}
    kept = models.create_namespaced_custom_object(*MODEL, namespace, PLURAL, body)
    assert "status" not in kept
    return "stored"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"source": "https://example.org/other"}, "spec.source: Forbidden: source cannot be changed: delete this Model"),
        ({"source": None, "sourceKind": "upload"}, "spec.source: Forbidden: source cannot be changed: delete this Model"),
        ({"sourceKind": "upload"}, "spec.sourceKind: Forbidden: sourceKind cannot be changed: delete this Model"),
        ({"source": "https://example.org/a/b", "framework": None}, ""),
        ({"revision": "v2", "services": ["ner"], "include": ["*.md"], "builder": "local", "name": "A better name"}, ""),
    ],
)
def test_where_a_model_comes_from_cannot_be_changed(
    models: CustomObjectsApi, namespace: str, stored: str, change: dict[str, Any], expected: str
) -> None:
    message = refusal(
        lambda: models.patch_namespaced_custom_object(
            *MODEL, namespace, PLURAL, stored, {"spec": change}, dry_run="All", field_validation="Strict"
        )
    )
    assert expected in message
    assert bool(expected) == bool(message)


READY = Condition(
    type="Ready",
    status="True",
    reason="Succeeded",
    message="Done.",
    observed_generation=1,
    last_transition_time="2026-01-01T00:00:00Z",
)
STATUS = ModelStatus(
    observed_generation=1,
    finished_generation=1,
    workflow="ingest-0123456789abcdef0123",
    revision="c0ffee" * 6 + "c0ff",
    set_digest="sha256:" + "ab" * 32,
    services=(ServiceStatus(task="text-classification", archive="a/b.tar.gz", latency_ms=12),),
    conditions=(READY,),
    last_failure=LastFailure(step="fetch", reason="SourceNotFound", message="It was not there.", retryable=False),
)  # fmt: skip


def test_spec_and_status_are_written_apart(models: CustomObjectsApi, namespace: str, stored: str) -> None:
    status = STATUS.model_dump(by_alias=True, mode="json")
    here = (*MODEL, namespace, PLURAL, stored)
    written = models.patch_namespaced_custom_object_status(*here, {"status": status, "spec": {"revision": "v2"}})
    assert written["status"] == status
    assert (written["spec"]["revision"], written["metadata"]["generation"]) == ("", 1)

    changed = models.patch_namespaced_custom_object(*here, {"spec": {"revision": "v2"}, "status": {"workflow": "mine"}})
    assert changed["status"] == status
    assert (changed["spec"]["revision"], changed["metadata"]["generation"]) == ("v2", 2)

    columns, row = table(models, namespace)
    assert [name for name, _ in columns] == ["Name", *(name for name, *_ in COLUMNS)]
    assert [name for name, priority in columns if priority] == ["Set Digest", "Workflow"]
    assert row[:-1] == [
        "stored",
        "True",
        "Succeeded",
        "https://example.org/a/b",
        STATUS.revision,
        STATUS.set_digest,
        STATUS.workflow,
    ]
    assert row[-1] not in ("", "<unknown>")


def table(models: CustomObjectsApi, namespace: str) -> tuple[list[tuple[str, int]], list[Any]]:
    """What ``kubectl get models`` prints: the columns with their priorities, and the only row."""
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    path = f"/apis/{'/'.join(MODEL)}/namespaces/{namespace}/{PLURAL}"
    answer = json.loads(DynamicClient(models.api_client).request("get", path, header_params=accept, serialize=False).data)
    [row] = answer["rows"]
    return [(column["name"], column["priority"]) for column in answer["columnDefinitions"]], row["cells"]


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": [READY.model_dump(by_alias=True, mode="json")] * 2},
        {"conditions": [READY.model_dump(by_alias=True, mode="json") | {"status": "Maybe"}]},
        {"conditions": [READY.model_dump(by_alias=True, mode="json") | {"reason": "in words"}]},
        {"observedGeneration": -1},
        {"workflow": "w" * 64},
        {"phase": "Running"},
    ],
)
def test_a_malformed_status_is_refused(models: CustomObjectsApi, namespace: str, stored: str, status: dict[str, Any]) -> None:
    assert refusal(
        lambda: models.patch_namespaced_custom_object_status(
            *MODEL, namespace, PLURAL, stored, {"status": status}, dry_run="All", field_validation="Strict"
        )
    )


def test_kubectl_knows_a_short_name(kube: ApiClient, models: CustomObjectsApi) -> None:
    [resource] = [found for found in models.get_api_resources(*MODEL).resources if found.name == PLURAL]
    assert (resource.short_names, resource.categories, resource.namespaced) == (["mdl"], ["slipway"], True)

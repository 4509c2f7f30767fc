"""What ``slipway submit`` sends for a manifest."""

from __future__ import annotations

from typing import Any

import pytest

from crd.manifest import parse_manifest
from crd.workflow import TEMPLATE
from pipelines.commands.submit import adhoc_workflow, check_reachable, namespace_of, resource
from steps.core.errors import Reason, SlipwayError
from tests.pipelines.conftest import manifest

MODEL = parse_manifest(manifest("tiny", "https://example.org/tiny.git", "ner", revision="main"), "model.yaml")


def test_a_model_is_sent_as_it_was_written() -> None:
    assert resource(MODEL) == {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "tiny"},
        "spec": {
            "services": ["token-classification"],
            "sourceKind": "git_lfs",
            "source": "https://example.org/tiny.git",
            "revision": "main",
        },
    }


def test_an_adhoc_workflow_is_what_argo_submit_makes() -> None:
    made: Any = adhoc_workflow(MODEL)
    assert made["metadata"] == {"generateName": "adhoc-tiny-"}, "without the labels by which the operator knows its own"
    assert made["spec"]["workflowTemplateRef"] == {"name": TEMPLATE}
    assert {each["name"]: each["value"] for each in made["spec"]["arguments"]["parameters"]} == {
        "name": "tiny",
        "source_kind": "git_lfs",
        "source": "https://example.org/tiny.git",
        "services": '["token-classification"]',
        "revision": "main",
    }


def upload(source: str) -> Any:
    text = manifest("tiny", source, "ner").replace("git_lfs", "upload")
    return parse_manifest(text, "model.yaml")


def test_a_local_folder_is_refused() -> None:
    for source in ("file:///models/tiny", "models/tiny"):
        with pytest.raises(SlipwayError, match="folder of this machine") as caught:
            check_reachable(upload(source))
        assert caught.value.reason is Reason.INVALID_SOURCE
    for source in ("gs://bucket/tiny", "s3://bucket/tiny"):
        check_reachable(upload(source))
    check_reachable(MODEL)


def test_the_namespace_is_the_flags_or_the_manifests() -> None:
    placed = MODEL.model_copy(update={"metadata": MODEL.metadata.model_copy(update={"namespace": "there"})})
    assert namespace_of(MODEL, "") == ""
    assert namespace_of(MODEL, "here") == "here"
    assert namespace_of(placed, "") == "there"
    assert namespace_of(placed, "there") == "there"
    with pytest.raises(SlipwayError, match="namespace there, and -n says here"):
        namespace_of(placed, "here")

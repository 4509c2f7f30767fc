"""build: for Cloud Build it plans, and says which step is still to come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steps.build import STEP, BuildInputs
from steps.core.documents import BuildPlan
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import execute
from steps.images.builders.supported import BuilderKind
from tests.steps.package.conftest import Made


def test_the_plan_names_the_registry_and_all_that_the_next_step_needs(classifier: Made, tmp_path: Path) -> None:
    made = classifier.copied_to(tmp_path / "store")
    inputs = BuildInputs(
        name="tiny",
        service=made.service,
        archive=made.archive,
        archive_digest=made.digest,
        builder=BuilderKind.CLOUDBUILD,
        registry="region-docker.pkg.dev/project/models",
    )
    outputs = execute(STEP, inputs, made.context).outputs
    assert (outputs.awaits, outputs.image_digest) == ("cloudbuild", "")
    assert outputs.image == f"region-docker.pkg.dev/project/models/tiny-text-classification:{made.digest[:12]}"
    plan = made.context.read_document(outputs.plan, BuildPlan)
    assert plan.labels["dev.slipway.archive-digest"] == f"sha256:{made.digest}"
    assert "org.opencontainers.image.source" in json.dumps(plan.labels)
    assert all(any(f"{name}=" in command for command in plan.commands) for name in plan.labels)


def test_without_a_registry_there_is_nowhere_to_push_to(classifier: Made) -> None:
    inputs = BuildInputs(
        name="tiny",
        service=classifier.service,
        archive=classifier.archive,
        archive_digest=classifier.digest,
        builder=BuilderKind.CLOUDBUILD,
        registry="",
    )
    with pytest.raises(SlipwayError) as caught:
        execute(STEP, inputs, classifier.context)
    assert caught.value.reason is Reason.INVALID_INPUT
    assert "registry" in caught.value.hint

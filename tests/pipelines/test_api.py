"""``steps.api``: a lock with ``fetch``, an archive with ``create_bento``, the same as the runner makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.demo.forge import Forge
from steps.api import create_bento, fetch
from steps.core.digest import sha256_file
from steps.core.errors import Reason, SlipwayError
from tests.pipelines.conftest import Ingested
from tests.servers.forge_faults import object_requests

pytestmark = pytest.mark.slow  # models are loaded


def test_a_model_becomes_an_archive(vit_run: Ingested, hub: Forge, tmp_path: Path) -> None:
    lock = fetch(hub.url("vit"), store=tmp_path)
    archive = create_bento(lock, "image-classification", name="tiny-vit", store=tmp_path)
    outputs = vit_run.outcome.receipts["image-classification/archive"].outputs
    assert archive == str(tmp_path / outputs["archive"])
    assert sha256_file(Path(archive)) == outputs["archive_digest"]
    assert lock.set_digest == vit_run.outcome.receipts["fetch"].outputs["set_digest"]
    before = len(object_requests(hub))
    assert fetch(hub.url("vit"), store=tmp_path) == lock
    assert create_bento(lock, "image-classification", name="tiny-vit", store=tmp_path) == archive
    assert len(object_requests(hub)) == before


def test_a_folder_and_an_alias_are_accepted(tagger_folder: Path, tmp_path: Path) -> None:
    lock = fetch(str(tagger_folder), source_kind="upload", store=tmp_path, exclude=("README.md",))
    assert "README.md" not in {file.path for file in lock.files}
    assert "token-classification" in create_bento(lock, "ner", name="tagger", store=tmp_path)


def test_a_failure_has_its_reason(hub: Forge, tmp_path: Path) -> None:
    with pytest.raises(SlipwayError) as caught:
        fetch(hub.url("nothing"), store=tmp_path)
    assert caught.value.reason is Reason.SOURCE_NOT_FOUND
    lock = fetch(hub.url("vit"), store=tmp_path)
    with pytest.raises(SlipwayError) as caught:
        create_bento(lock, "text-classification", name="x", store=tmp_path)
    assert caught.value.reason is Reason.TASK_MISMATCH

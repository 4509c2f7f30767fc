"""The table of sources: what one more entry is enough for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crd.schema import source_rules
from crd.types import Model
from pipelines.workflow_template import PARAMETERS
from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import LockedFile
from steps.core.progress import Meter
from steps.fetch import FetchInputs
from steps.sources.base import ModelSource, SourceRequest
from steps.sources.choose import SourceFile
from steps.sources.supported import DEFAULT_SOURCE, SourceKind, find_source, open_source
from tests.steps.model_trees import model_tree


class MemorySource(ModelSource):
    """A further kind of source, as a contributor writes it: the files of a model, held in memory."""

    name = "memory"
    title = "files in memory"
    address_required = True
    address_pattern = "^[a-z]+$"
    address_rule = "write the name of a model in memory"
    contents: dict[str, bytes]

    @classmethod
    def is_shared(cls, address: str) -> bool:
        return False

    def pin(self) -> str:
        return "1"

    def files(self) -> list[SourceFile]:
        return [SourceFile(path, len(content), "object", path) for path, content in self.contents.items()]

    def read_texts(self, files: tuple[SourceFile, ...]) -> dict[str, bytes]:
        return {file.path: self.contents[file.path] for file in files if not file.path.endswith(".safetensors")}

    def download(self, files: tuple[SourceFile, ...], meter: Meter) -> list[LockedFile]:
        locked = []
        with self.context.private_folder() as folder:
            for file in files:
                path = folder / "incoming"
                path.write_bytes(self.contents[file.path])
                locked.append(self.publish(file, path, sha256_bytes(self.contents[file.path])))
                meter.advance(file.size)
        return locked


def test_a_new_source_needs_no_other_code(context: Context, tmp_path: Path) -> None:
    tree = model_tree(tmp_path / "tree")
    MemorySource.contents = {path.name: path.read_bytes() for path in tree.iterdir() if path.is_file()}
    with MemorySource(SourceRequest("bert"), context) as source:
        lock, survey = source.fetch()
    assert lock.source_kind == "memory"
    assert {file.path for file in lock.files} == {file.path for file in survey.choice.files}
    for file in lock.files:
        assert b"".join(context.store.read(file.key)) == MemorySource.contents[file.path]


def test_a_new_source_gets_rules_in_the_crd() -> None:
    required, matches = source_rules([MemorySource])
    assert required["rule"] == "self.sourceKind != 'memory' || self.source != ''"
    assert required["message"] == "source is required with sourceKind memory: write the name of a model in memory"
    assert 'self.source.matches(r"^[a-z]+$")' in matches["rule"]


@pytest.mark.parametrize("kind", SourceKind)
def test_each_source_is_complete(kind: SourceKind) -> None:
    source = kind.source
    assert kind.value == source.name
    assert re.fullmatch(r"(a|the|files) ?.{5,}", source.title)
    assert re.compile(source.address_pattern)
    assert not source.address_required or not re.fullmatch(source.address_pattern, "")
    assert source.address_rule.startswith("write ")


def test_the_table_is_where_kinds_are_listed() -> None:
    schema = Model.model_json_schema()["$defs"]["SourceKind"]["enum"]
    assert schema == FetchInputs.model_json_schema()["$defs"]["SourceKind"]["enum"] == [kind.value for kind in SourceKind]
    assert PARAMETERS["source_kind"][1:] == (DEFAULT_SOURCE, tuple(SourceKind))


def test_a_source_refuses_an_address_of_another(context: Context) -> None:
    with pytest.raises(SlipwayError) as caught:
        open_source(SourceKind.GIT_LFS, SourceRequest("/srv/model"), context)
    assert caught.value.reason is Reason.INVALID_SOURCE


def test_an_unknown_kind_is_told_the_others() -> None:
    with pytest.raises(SlipwayError, match="no kind of source 'svn'") as caught:
        find_source("svn")
    for kind in SourceKind:
        assert f"{kind} ({kind.source.title})" in caught.value.hint

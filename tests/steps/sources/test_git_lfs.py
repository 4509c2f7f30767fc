"""What a fetch asks a forge for, and what it brings: one copy of one weight format, every object hashed, nothing twice."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge
from pipelines.demo.repository import GIT_ENVIRONMENT, lfs_object, publish
from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.errors import Reason, SlipwayError
from steps.gate.weights import read_header
from steps.sources.lfs_api import parse_pointer
from tests.conftest import RecordedProgress
from tests.servers.forge_faults import batch_requests, object_requests
from tests.steps.model_trees import COPIES, add_copies, model_tree, noise, safetensors, shard
from tests.steps.sources.running import fetch, local, lock_of, taken

TEXTS = {"README.md", "config.json", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return model_tree(tmp_path / "tree")


def oids_requested(forge: Forge) -> list[str]:
    return [exchange.path.rpartition("/")[2] for exchange in object_requests(forge)]


def test_only_safetensors_are_fetched(context: Context, forge: Forge, tree: Path) -> None:
    add_copies(tree, size=5000)
    commit = publish(forge.root, "bert", tree)
    outputs = fetch(context, forge.url("bert"))
    weights = (tree / "model.safetensors").read_bytes()
    assert oids_requested(forge) == [sha256_bytes(weights)]
    assert [exchange.sent for exchange in object_requests(forge)] == [len(weights)]
    assert len(batch_requests(forge)) == 1
    assert taken(context, outputs) == {name: (tree / name).read_bytes() for name in TEXTS | {"model.safetensors"}}
    assert (outputs.revision, outputs.files, outputs.left_files) == (commit, 5, len(COPIES) + 1)
    assert outputs.left_bytes >= 5000 * len(COPIES)


def test_no_pointer_remains_and_all_digests_match(context: Context, forge: Forge, tree: Path) -> None:
    publish(forge.root, "bert", tree, lfs=("*.safetensors", "tokenizer.json", "config.json"))
    outputs = fetch(context, forge.url("bert"))
    files = {file.path: file for file in lock_of(context, outputs).files}
    for path, content in taken(context, outputs).items():
        assert parse_pointer(content, path) is None
        assert (files[path].sha256, files[path].size) == (sha256_bytes(content), len(content))
        assert content == (tree / path).read_bytes()
    read_header(local(context).path(files["model.safetensors"].key), "model.safetensors")


def test_shards_come_with_their_own_index(context: Context, forge: Forge, tree: Path) -> None:
    shards = shard(tree, count=3)
    (tree / "pytorch_model.bin.index.json").write_text("{}")
    (tree / "model.fp16.safetensors").write_bytes(safetensors({"weight": noise(10)}))
    publish(forge.root, "bert", tree)
    outputs = fetch(context, forge.url("bert"))
    assert set(taken(context, outputs)) == TEXTS | {*shards, "model.safetensors.index.json"}
    assert len(set(oids_requested(forge))) == 3


def test_one_file_is_preferred_to_shards(context: Context, forge: Forge, tree: Path) -> None:
    whole = (tree / "model.safetensors").read_bytes()
    shard(tree)
    (tree / "model.safetensors").write_bytes(whole)
    publish(forge.root, "bert", tree)
    assert set(taken(context, fetch(context, forge.url("bert")))) == TEXTS | {"model.safetensors"}


def test_include_and_exclude_change_the_choice(context: Context, forge: Forge, tree: Path) -> None:
    (tree / "model.fp16.safetensors").write_bytes(safetensors({"weight": noise(10)}))
    (tree / "extra").mkdir()
    (tree / "extra" / "vocab.txt").write_text("a\nb\n")
    publish(forge.root, "bert", tree)
    outputs = fetch(
        context,
        forge.url("bert"),
        include=("model.fp16.safetensors", "extra/*"),
        exclude=("model.safetensors", "README*"),
    )
    assert set(taken(context, outputs)) == TEXTS - {"README.md"} | {"model.fp16.safetensors", "extra/vocab.txt"}
    assert oids_requested(forge) == [sha256_bytes((tree / "model.fp16.safetensors").read_bytes())]


def test_a_fetched_model_is_not_fetched_again(context: Context, forge: Forge, tree: Path, progress: RecordedProgress) -> None:
    publish(forge.root, "bert", tree)
    first = fetch(context, forge.url("bert"))
    seen = len(forge.exchanges)
    assert fetch(context, forge.url("bert")) == first
    assert len(batch_requests(forge)) == 1
    assert len(forge.exchanges) - seen == 2  # the branch is asked for (two requests of protocol version 2), and that is all


def test_stored_objects_are_not_requested_again(context: Context, forge: Forge, tree: Path) -> None:
    publish(forge.root, "bert", tree)
    first = fetch(context, forge.url("bert"))
    (tree / "README.md").write_text("# Better words\n")
    publish(forge.root, "bert", tree)
    second = fetch(context, forge.url("bert"))
    assert second.revision != first.revision
    assert second.set_digest != first.set_digest
    assert len(batch_requests(forge)) == len(object_requests(forge)) == 1


def test_equal_files_have_one_set_digest(context: Context, forge: Forge, tree: Path) -> None:
    publish(forge.root, "one", tree)
    publish(forge.root, "two", tree, message="With another commit")
    one, two = fetch(context, forge.url("one")), fetch(context, forge.url("two"))
    assert one.revision != two.revision
    assert one.set_digest == two.set_digest
    assert lock_of(context, one).source != lock_of(context, two).source


def test_two_files_with_one_object_cost_it_once(context: Context, forge: Forge, tree: Path) -> None:
    (tree / "model.copy.safetensors").write_bytes((tree / "model.safetensors").read_bytes())
    publish(forge.root, "bert", tree)
    outputs = fetch(context, forge.url("bert"), include=("model.copy.safetensors",))
    assert len(object_requests(forge)) == 1
    assert {"model.copy.safetensors", "model.safetensors"} <= set(taken(context, outputs))


def test_branches_tags_and_commits_name_what_they_should(context: Context, forge: Forge, tree: Path) -> None:
    first = publish(forge.root, "bert", tree)
    git = ["git", f"--git-dir={forge.root / 'bert.git'}", "-c", "user.name=x", "-c", "user.email=x@example.invalid"]
    subprocess.run([*git, "tag", "light", first], check=True, env=GIT_ENVIRONMENT)
    subprocess.run([*git, "tag", "-a", "-m", "A release", "v1.0", first], check=True, env=GIT_ENVIRONMENT)
    subprocess.run([*git, "branch", "feature/v1.0", first], check=True, env=GIT_ENVIRONMENT)
    (tree / "README.md").write_text("# Later\n")
    second = publish(forge.root, "bert", tree)
    for revision in ("light", "v1.0", "refs/tags/v1.0", "feature/v1.0", first):
        assert fetch(context, forge.url("bert"), revision=revision).revision == first, revision
    for revision in ("", "main", "refs/heads/main"):
        assert fetch(context, forge.url("bert"), revision=revision).revision == second, revision


def test_an_expected_set_digest_is_enforced(context: Context, forge: Forge, tree: Path) -> None:
    publish(forge.root, "bert", tree)
    outputs = fetch(context, forge.url("bert"))
    assert fetch(context, forge.url("bert"), expected_set_digest=outputs.set_digest) == outputs
    (tree / "README.md").write_text("# Changed\n")
    publish(forge.root, "bert", tree)
    with pytest.raises(SlipwayError, match=outputs.set_digest) as caught:
        fetch(context, forge.url("bert"), expected_set_digest=outputs.set_digest)
    assert caught.value.reason is Reason.SET_DIGEST_UNEXPECTED


def test_a_corrupt_stored_object_stops_a_fetch(context: Context, forge: Forge, tree: Path) -> None:
    publish(forge.root, "bert", tree)
    first = fetch(context, forge.url("bert"))
    [weights] = lock_of(context, first).weights
    blob = local(context).path(weights.key)
    blob.chmod(0o600)
    blob.write_bytes(bytes(len(blob.read_bytes())))
    (tree / "README.md").write_text("# A new commit, so that no receipt counts\n")
    publish(forge.root, "bert", tree)
    with pytest.raises(SlipwayError, match=weights.sha256) as caught:
        fetch(context, forge.url("bert"))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert str(blob) in caught.value.hint


def test_a_damaged_object_is_never_published(context: Context, forge: Forge, tree: Path) -> None:
    publish(forge.root, "bert", tree)
    oid = sha256_bytes((tree / "model.safetensors").read_bytes())
    stored = lfs_object(forge.root / "bert.git", oid)
    stored.write_bytes(stored.read_bytes()[:-1] + b"\0")
    with pytest.raises(SlipwayError) as caught:
        fetch(context, forge.url("bert"))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert len(object_requests(forge)) == 2  # once more, in case it was the network's fault
    assert list((context.scratch / "partial").iterdir()) == []
    assert list(local(context).list("locks/")) == []

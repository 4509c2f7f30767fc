"""A model whose files lead its library elsewhere: refused by the gate and, where that is passed by, by the walls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock, LockedFile
from steps.core.progress import Progress
from steps.frameworks.supported import DEFAULT_FRAMEWORK, open_loader
from steps.serving.walls.landlock import landlock_abi
from steps.serving.walls.raised import open_model_behind_walls
from steps.tasks.table import resolve
from tests.steps.frameworks.conftest import load

pytestmark = pytest.mark.slow
OUTSIDE = "/etc/hostname"
RESIDUES = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWC", "<mask>"]


def protein_model(folder: Path, **special_tokens: str) -> Path:
    """ESM with its tokenizer in Python, as its authors publish it, and what ``special_tokens_map.json`` is to hold."""
    import torch
    from transformers import EsmConfig, EsmForMaskedLM

    torch.manual_seed(7)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = EsmConfig(vocab_size=len(RESIDUES), mask_token_id=24, pad_token_id=1, position_embedding_type="absolute", **sizes)
    EsmForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(RESIDUES))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "EsmTokenizer"}))
    (folder / "special_tokens_map.json").write_text(json.dumps(special_tokens))
    return folder


def open_without_gate(folder: Path, context: Context, tasks: Sequence[str], temporary: Path) -> None:
    files = [file for file in folder.iterdir() if file.suffix in (".json", ".safetensors", ".txt")]
    locked = [LockedFile(path=file.name, size=file.stat().st_size, sha256="0" * 64) for file in files]
    lock = Lock.from_files(locked, source_kind="upload", source=str(folder), revision="")
    progress: Progress = context.progress
    loader = open_loader(DEFAULT_FRAMEWORK)
    open_model_behind_walls(
        lambda: loader.prepare_bento_model(lock, folder, [resolve(task) for task in tasks], progress), folder, temporary
    )


@pytest.mark.fault("refused")
def test_the_gate_refuses_a_vocabulary_elsewhere(tmp_path: Path, context: Context) -> None:
    folder = protein_model(tmp_path / "model", vocab_file=OUTSIDE)
    with pytest.raises(SlipwayError, match=r"special_tokens_map\.json: vocab_file names a file") as caught:
        load(folder, context, "fill-mask")
    assert caught.value.reason is Reason.UNSAFE_PATH


@pytest.mark.fault("refused")
def test_the_walls_stop_it_behind_the_gate(tmp_path: Path, context: Context) -> None:
    folder = protein_model(tmp_path / "model", vocab_file=OUTSIDE)
    with pytest.raises(SlipwayError) as caught:
        open_without_gate(folder, context, ["fill-mask"], tmp_path / "tmp")
    assert caught.value.reason is Reason.LOAD_FAILED
    assert f"tried to open {OUTSIDE!r}, which is no file of this model" in caught.value.message


@pytest.mark.fault("refused")
@pytest.mark.skipif(not landlock_abi(), reason="this kernel has no Landlock")
def test_a_compiled_tokenizer_opens_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "vocab.txt"
    outside.write_text("\n".join(RESIDUES))
    (tmp_path / "model").mkdir()

    def work() -> None:
        from tokenizers import Tokenizer

        Tokenizer.from_file(str(outside))

    with pytest.raises(Exception, match="Permission denied"):
        open_model_behind_walls(work, tmp_path / "model", tmp_path / "tmp")


@pytest.mark.fault("accepted")
def test_a_model_with_leftovers_is_loaded(tmp_path: Path, context: Context) -> None:
    folder = protein_model(tmp_path / "model", unk_token="<unk>", mask_token="<mask>", pad_token="<pad>")
    for name, settings in {
        "config.json": {"_name_or_path": "/home/user/checkpoint-500", "output_dir": "../out"},
        "tokenizer_config.json": {
            "vocab_file": "/home/user/vocab.txt",
            "tokenizer_file": "/home/user/tokenizer.json",
            "special_tokens_map_file": "/root/.cache/huggingface/special_tokens_map.json",
            "name_or_path": "facebook/esm2",
        },
    }.items():
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    _, facts = load(folder, context, "fill-mask")
    assert facts.walls[-1] == "audit hook"

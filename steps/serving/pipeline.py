"""Opening a model the one safe way: from local files, safetensors only, no code from a repository, no network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def open_pipeline(task: str, folder: Path, **options: Any) -> Any:
    """The transformers pipeline of a task over the model in ``folder``."""
    import torch
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()  # a service's log is no terminal
    # One request is answered by one thread pool; gradients are never wanted.
    torch.set_grad_enabled(False)
    opened = pipeline(
        task,
        model=str(folder),
        trust_remote_code=False,
        device="cpu",
        model_kwargs={"use_safetensors": True, **_variant(folder)},
        **options,
    )
    if opened.tokenizer is not None:
        opened.tokenizer.model_max_length = min(opened.tokenizer.model_max_length, _positions(opened.model))
    return opened


def _positions(model: Any) -> int:
    """How many tokens the model has positions for. Many tokenizers do not say, and would cut nothing off."""
    from torch.nn import Embedding

    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, Embedding):
            # The RoBERTa family counts positions from behind the padding's on.
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    said = getattr(model.config, "max_position_embeddings", None)  # BART, GPT-2 and others that name the table differently
    return said if isinstance(said, int) and said > 0 else sys.maxsize


def _variant(folder: Path) -> dict[str, str]:
    """``model.fp16.safetensors`` alone in a folder is loaded by its variant's name."""
    if (folder / "model.safetensors").exists() or (folder / "model.safetensors.index.json").exists():
        return {}
    variants = sorted(folder.glob("model.*.safetensors"))
    return {"variant": variants[0].name.split(".")[1]} if variants else {}

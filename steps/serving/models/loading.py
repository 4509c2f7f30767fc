"""Opening a model the one safe way: from local files, safetensors only, no code from a repository, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .max_length import max_length


def load_pipeline(task: str, folder: Path, **options: Any) -> Any:
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
        opened.tokenizer.model_max_length = min(opened.tokenizer.model_max_length, max_length(opened.model, "encoder"))
    return opened


def load_model(folder: Path, auto: str, **options: Any) -> Any:
    """The model in ``folder`` by the auto class of transformers that is named ``auto``; ``options`` are its own."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    kind = getattr(transformers, auto)
    options = {"dtype": "auto", **options, **_variant(folder)}
    return kind.from_pretrained(folder, trust_remote_code=False, use_safetensors=True, **options)


def _variant(folder: Path) -> dict[str, str]:
    """``model.fp16.safetensors`` alone in a folder is loaded by its variant's name."""
    if (folder / "model.safetensors").exists() or (folder / "model.safetensors.index.json").exists():
        return {}
    variants = sorted(folder.glob("model.*.safetensors"))
    return {"variant": variants[0].name.split(".")[1]} if variants else {}

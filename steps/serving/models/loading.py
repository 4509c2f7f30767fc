"""Loading a model the one safe way: from local files, safetensors only, no code from a repository, no network."""

from __future__ import annotations

from pathlib import Path

from .library import Model, Pipeline
from .max_length import max_length


def load_pipeline(task: str, folder: Path, **options: object) -> Pipeline:
    """The pipeline of transformers for a task, with the model in ``folder``.

    Its tokenizer cuts texts off, where asked to, at what the model can hold, also if its own files do not say so. The pipeline
    itself switches gradients off for each forward pass. ``options`` are further arguments of ``transformers.pipeline``.
    """
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()  # a service's log is not a terminal
    loaded: Pipeline = pipeline(
        task,
        model=str(folder),
        trust_remote_code=False,
        device="cpu",
        model_kwargs={"use_safetensors": True, **_variant(folder)},
        **options,
    )
    if loaded.tokenizer is not None:
        loaded.tokenizer.model_max_length = min(loaded.tokenizer.model_max_length, max_length(loaded.model, "encoder"))
    return loaded


def load_model(folder: Path, auto_class: str) -> Model:
    """The model in ``folder``, loaded by one of transformers' auto classes, such as ``AutoModelForSeq2SeqLM``."""
    return load_model_and_missing(folder, auto_class)[0]


def load_model_and_missing(folder: Path, auto_class: str) -> tuple[Model, frozenset[str]]:
    """The same, with the names of the weights that the files do not hold; these have random values."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    model: Model
    model, info = getattr(transformers, auto_class).from_pretrained(
        folder, trust_remote_code=False, use_safetensors=True, dtype="auto", output_loading_info=True, **_variant(folder)
    )
    return model, frozenset(info["missing_keys"])


def _variant(folder: Path) -> dict[str, str]:
    """The argument ``variant`` for a folder whose only weights are, for example, ``model.fp16.safetensors``."""
    if (folder / "model.safetensors").exists() or (folder / "model.safetensors.index.json").exists():
        return {}
    variants = sorted(folder.glob("model.*.safetensors"))
    return {"variant": variants[0].name.split(".")[1]} if variants else {}

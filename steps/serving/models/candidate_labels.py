"""What zero-shot tasks share: labels that come with the request must fit into the model, as the library cuts nothing off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..runner import BadInput


def check_label_lengths(opened: Any, texts: Sequence[str], field: str = "candidate_labels") -> None:
    """Raise ``BadInput`` if a text has more tokens than the pipeline's model has positions for."""
    config = opened.model.config
    sources = [config, getattr(config, "text_config", None)]
    limits = [getattr(source, name, None) for source in sources for name in ("max_position_embeddings", "max_text_len")]
    most = min([opened.tokenizer.model_max_length, *(limit for limit in limits if isinstance(limit, int))])
    for index, tokens in enumerate(opened.tokenizer(list(texts), verbose=False)["input_ids"]):
        if len(tokens) > most:
            raise BadInput(f"{field}: the text for label {index} has {len(tokens)} tokens; this model reads {most} at most")

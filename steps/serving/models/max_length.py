"""How many tokens a model can hold. What is longer is cut off or refused before the model reads it, where it would fail."""

from __future__ import annotations

from typing import Literal

from .library import Model

MAX_TOKENS = 32_768  # where a model could hold more: what is answered here in minutes, not in hours


def max_length(model: Model, side: Literal["encoder", "decoder"]) -> int:
    """How many tokens one side of a model can hold, as far as its configuration says, and at most ``MAX_TOKENS``.

    Many tokenizers do not say. For a model that has one side only, name the side that does the same: ``encoder`` for one that
    reads, ``decoder`` for one that writes.
    """
    from torch.nn import Embedding

    config = model.config
    limits = [MAX_TOKENS]
    nested = getattr(config, side, None) if config.is_encoder_decoder else None
    for each in (config, config.get_text_config(decoder=side == "decoder", encoder=side == "encoder"), nested):
        for name in (f"max_{side}_position_embeddings", "max_position_embeddings"):
            value = getattr(each, name, None)
            if isinstance(value, int) and value > 0:
                limits.append(value)
                break
    part = (model.get_encoder() if side == "encoder" else model.get_decoder()) if config.is_encoder_decoder else model
    for name, module in part.named_modules():
        # The RoBERTa family numbers positions from the padding token's id + 1 on.
        if name.endswith("position_embeddings") and type(module) is Embedding and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)
    return min(limits)

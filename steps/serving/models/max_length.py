"""How many tokens a model can hold: what is longer is cut off or refused before the model sees it, where it would fail."""

from __future__ import annotations

from typing import Any, Literal

MOST = 32_768  # where a model could hold more: what is answered here in minutes, not in hours


def max_length(model: Any, side: Literal["encoder", "decoder"]) -> int:
    """How many tokens a side of the model can hold, as far as it says, and at most ``MOST``.

    Many tokenizers do not say. A model that has one side only is asked for the side that it reads with.
    """
    from torch.nn import Embedding

    config = model.config
    held = [MOST]
    nested = getattr(config, side, None) if config.is_encoder_decoder else None
    for each in (config, config.get_text_config(decoder=side == "decoder", encoder=side == "encoder"), nested):
        for name in (f"max_{side}_position_embeddings", "max_position_embeddings"):
            value = getattr(each, name, None)
            if isinstance(value, int) and value > 0:
                held.append(value)
                break
    part = (model.get_encoder() if side == "encoder" else model.get_decoder()) if config.is_encoder_decoder else model
    for name, module in part.named_modules():
        # The RoBERTa family counts positions from behind the padding's on.
        if name.endswith("position_embeddings") and type(module) is Embedding and module.padding_idx is not None:
            held.append(module.num_embeddings - module.padding_idx - 1)
    return min(held)

"""A tiny model that makes music, token by token."""

from __future__ import annotations

from pathlib import Path

from tests.tiny_models import VOCABULARY, save_tokenizer

# Encodec, as it writes sound down: two codebooks of 16 entries, at 50 frames a second.
RATES = {"sampling_rate": 16_000, "upsampling_ratios": [5, 8, 8], "codebook_size": 16, "target_bandwidths": [0.4]}
LAYERS = {"hidden_size": 8, "num_filters": 4, "codebook_dim": 8, "num_lstm_layers": 1, "num_residual_layers": 1}


def save_musician(folder: Path) -> None:
    import torch
    from transformers import MusicgenConfig, MusicgenForConditionalGeneration

    torch.manual_seed(7)
    reader = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 1, "num_heads": 2}
    writer = {"hidden_size": 16, "ffn_dim": 32, "num_codebooks": 2, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MusicgenConfig(
        text_encoder={"model_type": "t5", "vocab_size": len(VOCABULARY), **reader},
        audio_encoder={"model_type": "encodec", **RATES, **LAYERS},
        decoder={"vocab_size": 16, "pad_token_id": 16, "bos_token_id": 16, **writer},
    )
    model = MusicgenForConditionalGeneration(config)
    for layer in model.audio_encoder.quantizer.layers:
        layer.codebook.embed.normal_()  # all alike when it is new
    generation = model.generation_config
    generation._from_model_config = False  # or it is made anew when the model is loaded
    generation.guidance_scale = 3.0
    generation.decoder_start_token_id = generation.bos_token_id = generation.pad_token_id = 16
    model.save_pretrained(folder)
    save_tokenizer(folder)

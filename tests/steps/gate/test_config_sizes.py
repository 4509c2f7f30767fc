"""Sizes in config.json: what no model with these weights can have is refused, what real models have is not."""

from __future__ import annotations

from typing import Any

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.gate.config_sizes import check_sizes
from steps.gate.weights import Header

TINY = [Header({"F32": 20_000}, frozenset(f"layer.{index}.weight" for index in range(39)), 64)]
BERT = {"vocab_size": 26, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
MILLIARD = 10**9


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"num_hidden_layers": MILLIARD}, "num_hidden_layers is 1000000000, and the weights have 39 tensors"),
        ({"num_hidden_layers": 1e9}, "num_hidden_layers is 1000000000"),
        ({"num_hidden_layers": float("inf")}, "num_hidden_layers is inf"),
        ({"vocab_size": MILLIARD}, "vocab_size is 1000000000, and the longest dimension of any tensor is 64"),
        ({"text_config": {"num_hidden_layers": MILLIARD}}, "text_config.num_hidden_layers is"),
        ({"text_config": {"nested": {"vocab_size": MILLIARD}}}, "text_config.nested.vocab_size is"),
        ({"vision_config": {"image_size": MILLIARD}}, "vision_config.image_size is"),
        ({"sub_configs": [{"num_layers": MILLIARD}]}, "sub_configs[0].num_layers is"),
        ({"n_layer": MILLIARD}, "n_layer is"),
        ({"encoder_layers": 10**6}, "encoder_layers is"),
        ({"num_labels": 10**7}, "num_labels is"),
        ({"id2label": {str(index): "x" for index in range(2_000_000)}}, "id2label is 2000000"),
        ({"num_local_experts": MILLIARD}, "num_local_experts is 1000000000"),
        ({"num_attention_heads": MILLIARD}, "num_attention_heads is"),
        ({"type_vocab_size": MILLIARD}, "type_vocab_size is"),
        ({"conv_kernel": [10, MILLIARD]}, "conv_kernel is"),
        ({"hidden_sizes": [MILLIARD]}, "hidden_sizes is"),
        ({"depths": [400, 400]}, "the sum of depths is 800"),
        ({"depths": [1] * 1000}, "the length of depths is 1000"),
        ({"num_codebooks": MILLIARD}, "num_codebooks is"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: 0"),
        ({"hidden_size": -1}, "hidden_size: -1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_sizes_beyond_the_weights_are_refused(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        check_sizes({**BERT, **settings}, TINY)
    assert caught.value.reason is Reason.INVALID_CONFIG
    assert "config.json" in caught.value.message
    assert where in caught.value.message


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    "settings",
    [
        {"max_position_embeddings": 10_485_760, "rope_theta": 5e8, "sliding_window": 10**9, "num_experts": 128},  # Llama 4
        {"num_hidden_layers": 12, "num_hidden_groups": 1, "inner_group_num": 1},  # ALBERT: one layer's weights for all
        {"vocab_size": 262_208, "text_config": {"vocab_size": 262_144}},  # the text part of Gemma 3, left out
        {"mlp_only_layers": list(range(94)), "layer_types": ["full_attention"] * 94, "max_window_layers": 80},
        {"vision_feature_layer": -2, "max_depth": 10_000, "mem_len": -1, "max_relative_positions": -1, "n_positions": 0},
        {"max_pixels": 12_845_056, "sampling_rate": 192_000, "pad_token_id": -1, "num_train_tokens": 10**13},
        {"eos_token_id": [128_001, 128_009], "total_flos": 1e21, "seed": 2**32, "time_step_limit": [0.0, float("inf")]},
        {"num_hidden_layers": None, "vocab_size": None, "id2label": None, "hidden_sizes": []},
        {"id2label": {str(index): "x" for index in range(21_843)}},
        {"num_experts": 0, "num_key_value_heads": 1, "encoder_layers": 0},
    ],
    ids=lambda value: str(value)[:40],
)
def test_sizes_of_real_models_pass(settings: dict[str, Any]) -> None:
    check_sizes({**BERT, **settings}, TINY)


@pytest.mark.fault("accepted")
def test_large_sizes_pass_where_weights_show_them() -> None:
    shards = [Header({"BF16": 1}, frozenset(f"{shard}.{index}" for index in range(300)), 2_000_000) for shard in range(4)]
    check_sizes({"num_hidden_layers": 1200, "vocab_size": 2_000_000, "num_experts": 2_000_000}, shards)

"""Sizes in ``config.json`` against the headers of the weights, before anything is built from them.

The library builds what the configuration says: a thousand million layers over weights of a few kilobytes, one Python object
after the other. What is refused here are sizes that no model with these weights can have, with room for what models do
legitimately: share one layer's weights among many (ALBERT), describe a part whose weights were left out, compute positions
instead of storing them. Sizes that are merely wrong are left to the library, which knows each model and names the tensor that
does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard

from steps.core.errors import Reason, SlipwayError
from steps.gate.weights import Header

# How many layers, and how long a dimension, may be without weights that show it. The deepest models have some 200 layers, the
# largest vocabularies 262 144 tokens.
FREE_LAYERS = 500
FREE_SIZE = 1 << 20
# A module, often a whole layer, is built for each of these. Depths in a picture (``max_depth``) are no such numbers.
_LAYERS = re.compile(r"(?!(max|min)_depth)(.*_)?(layers?|depths?|blocks|stages|groups?(_num)?)")
_PARTS = re.compile(r"(.*_)?(experts|codebooks|quantizers)")
_NUMBERS_OF_LAYERS = re.compile(r"(?!(max|min)_depth)(num_.*|(.*_)?depths?)")  # not indices of layers
# No model is without them.
_NEEDED = frozenset({"num_hidden_layers", "n_layer", "hidden_size", "d_model", "n_embd"})
# One dimension of a tensor, or one entry of a table, for each of these.
_SIZES = re.compile(
    r"(.*_)?(vocab_sizes?|hidden_sizes?|embedding_size|intermediate_size|ffn_size|codebook_size|image_size|patch_size"
    r"|kernel_sizes?|kernel|strides?|dims?|d_model|d_ff|d_kv|d_inner|n_embd|n_inner|state_size|heads?|channels|filters|features"
    r"|labels|classes|queries|buckets)"
)


def check_sizes(config: Mapping[str, object], headers: Sequence[Header]) -> None:
    """Refuse a configuration whose sizes cannot be those of the weights.

    Args:
        config: ``config.json``; the configurations nested in it are checked alike.
        headers: Of all weight files.

    Raises:
        SlipwayError: ``InvalidConfig``, naming the field, its value and what the weights have.
    """
    tensors = sum(len(header.names) for header in headers)
    longest = max((header.longest for header in headers), default=0)
    long = f"the longest dimension of any tensor is {longest}"
    for where, name, value in _numbers(config, ""):
        if name in _NEEDED and value < 1:
            raise SlipwayError(Reason.INVALID_CONFIG, f"config.json has {where}: {value:.12g}, and no model is without.")
        if _LAYERS.fullmatch(name):
            _check(where, value, max(tensors, FREE_LAYERS), f"the weights have {tensors} tensors")
        elif _PARTS.fullmatch(name):
            _check(where, value, max(tensors, longest, FREE_LAYERS), f"the weights have {tensors} tensors, and {long}")
        elif _SIZES.fullmatch(name):
            _check(where, value, max(longest, FREE_SIZE), long)


def _check(where: str, value: float, limit: int, found: str) -> None:
    if value > limit:
        raise SlipwayError(
            Reason.INVALID_CONFIG,
            f"config.json does not fit the weights: {where} is {value:.12g}, and {found}.",
            hint=f"Correct {where} in config.json, or save configuration and weights together with "
            "`model.save_pretrained(folder)`.",
        )


def _numbers(config: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str, float]]:
    """Each number in ``config``: its place, its field's name, and its value; of a table of labels, how many there are."""
    for name, value in config.items():
        where = f"{prefix}{name}"
        if name in ("id2label", "label2id") and isinstance(value, Mapping):
            yield where, "num_labels", len(value)
        elif isinstance(value, Mapping):
            yield from _numbers(value, f"{where}.")
        elif isinstance(value, list):
            yield f"the length of {where}", name, len(value)
            yield from _numbers(
                {f"{name}[{index}]": item for index, item in enumerate(value) if isinstance(item, Mapping)}, prefix
            )
            numbers = [item for item in value if _is_number(item)]
            if _NUMBERS_OF_LAYERS.fullmatch(name):
                yield f"the sum of {where}", name, sum(numbers)
            yield from ((where, name, item) for item in numbers)
        elif _is_number(value):
            yield where, name, value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

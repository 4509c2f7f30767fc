"""Any JSON, with the keys that the report looks for among its keys."""

from __future__ import annotations

from hypothesis import strategies as st
from pydantic import JsonValue

KEYS = st.sampled_from(
    ["label", "score", "entity", "word", "start", "end", "properties", "type", "items", "$ref", "enum", "anyOf", "required"]
)
JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)

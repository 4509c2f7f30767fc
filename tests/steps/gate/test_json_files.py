"""JSON files of a model: what is read, and what is refused as naming code."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.errors import Reason, SlipwayError
from steps.gate.json_files import REMOTE_CODE_KEYS, architectures, check_config, check_json


@pytest.mark.parametrize("key", sorted(REMOTE_CODE_KEYS))
@pytest.mark.parametrize("nest", [lambda x: x, lambda x: {"a": x}, lambda x: [1, [x]], lambda x: {"a": [{"b": x}]}])
def test_code_keys_are_found_at_any_depth(key: str, nest: Callable[[object], object]) -> None:
    values: list[object] = [True, "x", {"AutoModel": "m.C"}, 1, [], {}]
    for value in values:
        with pytest.raises(SlipwayError, match=key) as caught:
            check_json("config.json", json.dumps(nest({key: value})).encode())
        assert caught.value.reason is Reason.REMOTE_CODE
    for value in (None, False):
        check_json("config.json", json.dumps(nest({key: value})).encode())


@pytest.mark.parametrize(
    "key", ["attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation"]
)
def test_a_kernel_from_a_repository_is_refused(key: str) -> None:
    values: list[object] = ["evil/kernel", "evil/kernel@main:attention", {"text_config": "evil/kernel"}, ["evil/kernel"]]
    for value in values:
        with pytest.raises(SlipwayError, match="kernel from a repository") as caught:
            check_json("config.json", json.dumps({"text_config": {key: value}}).encode())
        assert caught.value.reason is Reason.REMOTE_CODE
    for value in ("sdpa", "flash_attention_2", None, {"text_config": "eager"}):
        check_json("config.json", json.dumps({key: value}).encode())


def test_a_tokenizers_vocabulary_may_hold_any_word() -> None:
    vocabulary = json.dumps({"model": {"vocab": {"auto_map": 1, "trust_remote_code": 2}}}).encode()
    check_json("tokenizer.json", vocabulary)
    check_json("sub/tokenizer.json", vocabulary)
    with pytest.raises(SlipwayError):
        check_json("not_tokenizer.json", vocabulary)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe{\0}\0",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b"[" * 200_000,
        b"[" * 150 + b"]" * 150,
        b'{"a":' * 150 + b"1" + b"}" * 150,
        b"9" * 5000,
    ],
    ids=range(9),
)
def test_malformed_json_is_refused(text: bytes) -> None:
    with pytest.raises(SlipwayError, match=r"^InvalidConfig: config\.json is "):
        check_json("config.json", text)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_json(text: bytes) -> None:
    try:
        check_json("config.json", text)
    except SlipwayError as error:
        if error.reason not in (Reason.INVALID_CONFIG, Reason.REMOTE_CODE):
            raise


@pytest.mark.parametrize("config", [None, [], {}, {"architectures": []}, {"architectures": "X"}, {"architectures": [5]}])
def test_a_config_without_architecture_is_refused(config: object) -> None:
    with pytest.raises(SlipwayError, match="which architecture"):
        architectures(config)
    for name in ("a b", "os;x", "{{x}}", ""):
        with pytest.raises(SlipwayError, match="which architecture"):
            architectures({"architectures": [name]})
    assert architectures({"architectures": ["BertModel"]}) == ("BertModel",)


def test_a_config_is_returned_as_fields() -> None:
    assert check_config(b'{"architectures": ["BertModel"], "a": 1}') == {"architectures": ["BertModel"], "a": 1}
    for text in (b"[]", b"{}", b"{"):
        with pytest.raises(SlipwayError) as caught:
            check_config(text)
        assert caught.value.reason is Reason.INVALID_CONFIG

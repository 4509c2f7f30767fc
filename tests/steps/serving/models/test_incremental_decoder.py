"""Chunks of a text are emitted as soon as later tokens cannot change them."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from steps.serving.models.incremental_decoder import IncrementalDecoder


def decode(tokens: list[int]) -> str:
    """Bytes as tokens."""
    return bytes(tokens).decode(errors="replace")


def joined(tokens: list[int]) -> str:
    """A decoder that takes spaces back when a full stop or an ending follows, as some tokenizers do."""
    text = decode(tokens)
    for word in IncrementalDecoder.REMOVED_SPACES:
        text = text.replace(word, word.strip(" "))
    return text


def grown(
    tokens: list[int], stops: list[str], decoder: Callable[[list[int]], str] = decode
) -> tuple[list[str], IncrementalDecoder]:
    text = IncrementalDecoder(decoder, stops)
    pieces = []
    for count in range(1, len(tokens) + 1):
        pieces.append(text.update(tokens[:count]))
        if text.ended:
            break
    return [*pieces, text.finish(tokens[:count] if tokens else [])], text


def cut(text: str, stops: list[str]) -> str:
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]


WORDS = st.lists(st.sampled_from(["a", "b", "ab", " ", ".", " .", " n't", "ä", "字", "🙂"]), max_size=30).map("".join)


STOPS = st.lists(st.text("ab .ä字", min_size=1, max_size=4), max_size=3)


@given(text=WORDS, stops=STOPS)
def test_chunks_add_up_to_the_first_stop(text: str, stops: list[str]) -> None:
    pieces, growing = grown(list(text.encode()), stops)
    assert "".join(pieces) == growing.emitted == cut(text, stops)
    assert growing.ended == any(stop in text for stop in stops)


@given(text=WORDS)
def test_chunks_add_up_although_spaces_are_removed(text: str) -> None:
    tokens = list(text.encode())
    assert "".join(grown(tokens, [], joined)[0]) == joined(tokens)


@given(st.lists(st.integers(0, 255), max_size=40), STOPS)
def test_no_tokens_make_it_fail(tokens: list[int], stops: list[str]) -> None:
    pieces, growing = grown(tokens, stops)
    assert "".join(pieces) == growing.emitted
    assert not any(stop in growing.emitted for stop in stops)


def test_no_partial_character_or_stop_is_emitted() -> None:
    text = IncrementalDecoder(decode, ["END"])
    tokens = "x€ENxEND!".encode()
    assert [text.update(list(tokens[:count])) for count in range(1, len(tokens) + 1)] == [
        *("", "x", "", "", "€", "", "", "ENx", "", "", ""),
    ]
    assert text.ended

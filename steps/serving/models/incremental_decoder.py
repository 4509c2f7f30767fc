"""Decoding tokens that a model writes one by one into chunks of text that no later token changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class IncrementalDecoder:
    """The text of tokens that are written one by one, emitted as far as later tokens cannot change it.

    Later tokens can change the end of the text: a character may be several tokens, some tokenizers remove a space when a full
    stop follows, and a stop text may have begun. So characters are emitted when two decodings in a row agree on them and none
    of them can belong to one of ``stops`` or ``REMOVED_SPACES``.

    Attributes:
        emitted: All text that was emitted.
        ended: Whether one of ``stops`` is in the text; neither it nor what follows is emitted.
    """

    # ``clean_up_tokenization`` of transformers removes the space before these.
    REMOVED_SPACES = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str]) -> None:
        """Begin with no tokens. ``decode`` makes text of tokens; ``stops`` are texts that end it."""
        self._decode, self._stops = decode, stops
        self._before = ""
        self.emitted = ""
        self.ended = False

    def update(self, tokens: list[int]) -> str:
        """Take all tokens so far, and return the text that has become certain; often none."""
        text = self._decode(tokens).rstrip("\N{REPLACEMENT CHARACTER}")
        if self._find_stop(text):
            return self._emit(text)
        agreed = _common_start(self._before, text)
        self._before = text
        begun = max(_begun(agreed, each) for each in (*self._stops, *self.REMOVED_SPACES))
        return self._emit(agreed[: len(agreed) - begun])

    def finish(self, tokens: list[int]) -> str:
        """Take all tokens, of which there will be no more, and return the rest of the text."""
        text = self._decode(tokens)
        self._find_stop(text)
        return self._emit(text)

    def _find_stop(self, text: str) -> bool:
        self.ended = any(stop in text for stop in self._stops)
        return self.ended

    def _emit(self, text: str) -> str:
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        new = text[len(self.emitted) : min(found, default=len(text))]
        self.emitted += new
        return new


def _common_start(one: str, other: str) -> str:
    """The start that two texts share."""
    shortest = min(len(one), len(other))
    return one[: next((at for at in range(shortest) if one[at] != other[at]), shortest)]


def _begun(text: str, other: str) -> int:
    """How many characters at the end of ``text`` are the start of ``other``, but not all of it."""
    return next((size for size in range(min(len(text), len(other) - 1), 0, -1) if text.endswith(other[:size])), 0)

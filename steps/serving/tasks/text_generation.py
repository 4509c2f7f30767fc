"""text-generation: a text or a conversation in, what the model goes on with out, whole or in chunks as they are written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .. import runner
from ..fields import Text
from ..models.generation import (
    MAX_NEW_TOKENS,
    GeneratedText,
    Sampling,
    end_tokens,
    extract_generation_settings,
    generate_token_ids,
)
from ..models.loading import load_pipeline
from ..models.max_length import max_length
from ..runner import BadInput

MAX_CHARACTERS = 100_000  # of a conversation


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Literal["system", "developer", "user", "assistant"] = Field(description="who says it")
    content: Text = Field(description="what is said")


class Request(Sampling):
    prompt: Text | Annotated[list[Message], Field(min_length=1, max_length=200)] = Field(
        description="a text that the model goes on with, or, where the model has a chat template, the messages of a "
        "conversation, oldest first; if the last one is the assistant's, it is gone on with"
    )
    max_new_tokens: int = Field(256, ge=1, le=MAX_NEW_TOKENS, description="how many tokens to write at most")
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=8)] = Field(
        [], description="texts that end the answer when the model writes them; they are not part of it"
    )


class TextChunk(runner.Chunk):
    text: str = Field(description="the next characters of the text")


class Answer(GeneratedText):
    text: str = Field(description="what the model wrote, without the prompt")


class Runner(runner.StreamingRunner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        opened = load_pipeline("text-generation", folder)
        self._model, self._tokenizer = opened.model, opened.tokenizer
        extract_generation_settings(self._model)  # how to write, the request says
        self._positions, self._ends = max_length(self._model, "decoder"), end_tokens(self._model)

    def predict(self, request: Request) -> Answer:
        return self._write(request, self._read(request), lambda chunk: None, threading.Event())

    def stream(self, request: Request) -> Generator[TextChunk | Answer, None, None]:
        inputs = self._read(request)
        chunks: SimpleQueue[TextChunk | Answer | BaseException] = SimpleQueue()
        left = threading.Event()

        def work() -> None:
            try:
                chunks.put(self._write(request, inputs, chunks.put, left))
            except BaseException as error:  # raised below, for whoever waits there
                chunks.put(error)

        # The model does not return before it is done, so what it writes meanwhile is handed over by a thread of its own.
        thread = threading.Thread(target=work, name="writer", daemon=True)
        thread.start()
        try:
            while not isinstance(chunk := chunks.get(), Answer):
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
            yield chunk
        finally:
            left.set()
            thread.join()

    def _read(self, request: Request) -> dict[str, Any]:
        """The prompt's tokens, one row. Raises ``BadInput`` for one that the model cannot go on with."""
        prompt = request.prompt
        read = self._tokenizer(prompt, return_tensors="pt") if isinstance(prompt, str) else self._read_messages(prompt)
        length = read["input_ids"].shape[-1]
        if length == 0:
            raise BadInput("prompt: the model's tokenizer finds nothing in it")
        if length >= self._positions:
            raise BadInput(f"prompt: it has {length} tokens, and the model holds {self._positions} with its answer; shorten it")
        return {name: read[name] for name in ("input_ids", "attention_mask") if name in read}

    def _read_messages(self, messages: Sequence[Message]) -> Any:
        if self._tokenizer.chat_template is None:
            raise BadInput("prompt: the model has no chat template; send one text instead of messages")
        if sum(len(message.content) for message in messages) > MAX_CHARACTERS:
            raise BadInput(f"prompt: the messages have more than {MAX_CHARACTERS} characters together; leave out the oldest")
        unfinished = messages[-1].role == "assistant"
        try:
            return self._tokenizer.apply_chat_template(
                [message.model_dump() for message in messages],
                add_generation_prompt=not unfinished,
                continue_final_message=unfinished,
                sanitize_control_tokens=True,  # what is said ends nobody's turn and begins none
                return_dict=True,
                return_tensors="pt",
            )
        except Exception as error:  # the template is a program of the model's author, and says so in its own ways
            said = " ".join(str(error).split())[:200]
            raise BadInput(f"prompt: the model's chat template does not take these messages: {said}") from None

    def _write(
        self, request: Request, inputs: dict[str, Any], tell: Callable[[TextChunk], None], left: threading.Event
    ) -> Answer:
        """Go on with the prompt until the end, or until ``left`` is set; each chunk is told as soon as it is certain."""
        import torch

        length = inputs["input_ids"].shape[-1]
        text = Growing(lambda tokens: self._tokenizer.decode(tokens, skip_special_tokens=True), request.stop)

        def watch(rows: Any, scores: Any, **_: Any) -> Any:
            """Called by ``generate`` after each token; says whether that was the last."""
            if chunk := text.grow(rows[0, length:].tolist()):
                tell(TextChunk(text=chunk))
            return torch.full((len(rows),), text.ended or left.is_set(), device=rows.device)

        most = min(request.max_new_tokens, self._positions - length)
        settings = {**request.settings(), "max_new_tokens": most, "stopping_criteria": [watch]}
        [row] = generate_token_ids(self._model, inputs, request.seed, settings)
        if rest := text.finish(row[length:]):
            tell(TextChunk(text=rest))
        stopped = text.ended or row[-1] in self._ends
        return Answer(
            text=text.given,
            finish_reason="stop" if stopped else "length",
            prompt_tokens=length,
            new_tokens=len(row) - length,
        )


class Growing:
    """The text of tokens that come one by one, given out as far as later tokens cannot change it.

    They can change its end: a character may be several tokens, some tokenizers take a space back when a full stop follows,
    and a text that ends the answer may have begun. So characters are given out when two decodings in a row agree on them and
    none of them can belong to one of ``stops`` or ``JOINED``. ``given`` is all that was given out.
    """

    # Before these, ``clean_up_tokenization`` of transformers takes the space back.
    JOINED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str]) -> None:
        self._decode, self._stops = decode, stops
        self._before = ""
        self.given = ""
        self.ended = False

    def grow(self, tokens: list[int]) -> str:
        """Take all tokens so far; gives out what has become certain. ``ended`` if one of ``stops`` is in the text."""
        text = self._decode(tokens).rstrip("\N{REPLACEMENT CHARACTER}")
        if self._find_end(text):
            return self._give(text)
        agreed = self._before if text.startswith(self._before) else _common(self._before, text)
        self._before = text
        begun = max(_begun(agreed, each) for each in (*self._stops, *self.JOINED))
        return self._give(agreed[: len(agreed) - begun])

    def finish(self, tokens: list[int]) -> str:
        """Take all tokens, of which there will be no more; gives out the rest."""
        text = self._decode(tokens)
        self._find_end(text)
        return self._give(text)

    def _find_end(self, text: str) -> bool:
        self.ended = any(stop in text for stop in self._stops)
        return self.ended

    def _give(self, text: str) -> str:
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        new = text[len(self.given) : min(found, default=len(text))]
        self.given += new
        return new


def _common(one: str, other: str) -> str:
    """The beginning that two texts share."""
    return one[: next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))]


def _begun(text: str, other: str) -> int:
    """How many characters at the end of ``text`` are the beginning of ``other``, but not all of it."""
    return next((size for size in range(min(len(text), len(other) - 1), 0, -1) if text.endswith(other[:size])), 0)

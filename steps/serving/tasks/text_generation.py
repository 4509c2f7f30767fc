"""text-generation: a text or a conversation in, the text that the model adds out, as a whole or streamed in chunks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Literal

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
from ..models.incremental_decoder import IncrementalDecoder
from ..models.library import Encoding
from ..models.loading import load_pipeline
from ..models.max_length import max_length
from ..runner import BadInput

if TYPE_CHECKING:
    from torch import Tensor

MAX_CHARACTERS = 100_000  # of a conversation


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Literal["system", "developer", "user", "assistant"] = Field(description="who wrote it")
    content: Text = Field(description="the text")


class Request(Sampling):
    """The prompt, and how to generate."""

    prompt: Text | Annotated[list[Message], Field(min_length=1, max_length=200)] = Field(
        description="a text that the model continues or, if the model has a chat template, the messages of a "
        "conversation, oldest first; if the last one is the assistant's, the model continues it"
    )
    max_new_tokens: int = Field(256, ge=1, le=MAX_NEW_TOKENS, description="how many tokens to write at most")
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=8)] = Field(
        [], description="texts that end the answer when the model writes them; they are not part of it"
    )


class TextChunk(runner.Chunk):
    """The next part of a streamed text."""

    text: str = Field(description="the next characters of the text")


class Answer(GeneratedText):
    """The text that the model wrote."""

    text: str = Field(description="what the model wrote, without the prompt")


class Runner(runner.StreamingRunner[Request, Answer]):
    """A decoder with its tokenizer."""

    def __init__(self, folder: Path) -> None:
        loaded = load_pipeline("text-generation", folder)
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        extract_generation_settings(self.model)  # the request says how to generate
        self._max_length, self._end_tokens = max_length(self.model, "decoder"), end_tokens(self.model)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a prompt that this model cannot continue."""
        return self._generate(request, self._encode(request), lambda chunk: None, threading.Event())

    def stream(self, request: Request) -> Generator[TextChunk | Answer, None, None]:
        """Yield the text's chunks as soon as they are certain, then the whole answer. Raises as ``predict`` does."""
        inputs = self._encode(request)
        chunks: SimpleQueue[TextChunk | Answer | BaseException] = SimpleQueue()
        stopped = threading.Event()

        def work() -> None:
            try:
                chunks.put(self._generate(request, inputs, chunks.put, stopped))
            except BaseException as error:  # raised again in the thread that reads the queue
                chunks.put(error)

        # ``generate`` returns when the whole text is written, so it runs in a thread of its own, which passes on the chunks.
        thread = threading.Thread(target=work, name="generate", daemon=True)
        thread.start()
        try:
            while not isinstance(chunk := chunks.get(), Answer):
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
            yield chunk
        finally:
            stopped.set()
            thread.join()

    def _encode(self, request: Request) -> dict[str, Tensor]:
        """The prompt's tokens, of shape (1, tokens). Raises ``BadInput`` for a prompt that the model cannot continue."""
        prompt = request.prompt
        encoded: Encoding = (
            self.tokenizer(prompt, return_tensors="pt") if isinstance(prompt, str) else self._encode_messages(prompt)
        )
        length = encoded["input_ids"].shape[-1]
        if length == 0:
            raise BadInput("prompt: the model's tokenizer finds nothing in it")
        if length >= self._max_length:
            raise BadInput(f"prompt: {length} tokens; the model holds {self._max_length} together with its answer; shorten it")
        return {name: encoded[name] for name in ("input_ids", "attention_mask") if name in encoded}

    def _encode_messages(self, messages: Sequence[Message]) -> Encoding:
        """The same for a conversation, by the model's chat template."""
        if self.tokenizer.chat_template is None:
            raise BadInput("prompt: the model has no chat template; send one text instead of messages")
        if sum(len(message.content) for message in messages) > MAX_CHARACTERS:
            raise BadInput(f"prompt: the messages have more than {MAX_CHARACTERS} characters together; leave out the oldest")
        unfinished = messages[-1].role == "assistant"
        try:
            encoded: Encoding = self.tokenizer.apply_chat_template(
                [message.model_dump() for message in messages],
                add_generation_prompt=not unfinished,
                continue_final_message=unfinished,
                sanitize_control_tokens=True,  # no message can end a turn or begin one
                return_dict=True,
                return_tensors="pt",
            )
        except Exception as error:  # the template is a program of the model's author and can raise anything
            reason = " ".join(str(error).split())[:200]
            raise BadInput(f"prompt: the model's chat template does not take these messages: {reason}") from None
        return encoded

    def _generate(
        self, request: Request, inputs: dict[str, Tensor], emit: Callable[[TextChunk], None], stopped: threading.Event
    ) -> Answer:
        """Generate until the end, or until ``stopped`` is set; ``emit`` is called with each chunk as soon as it is certain."""
        import torch

        length = inputs["input_ids"].shape[-1]
        text = IncrementalDecoder(lambda tokens: self.tokenizer.decode(tokens, skip_special_tokens=True), request.stop)

        def stopping_criterion(rows: Tensor, scores: Tensor, **options: object) -> Tensor:
            """Called by ``generate`` after each token; returns for each row whether that token was the last."""
            if chunk := text.update(rows[0, length:].tolist()):
                emit(TextChunk(text=chunk))
            return torch.full((len(rows),), text.ended or stopped.is_set(), device=rows.device)

        limit = min(request.max_new_tokens, self._max_length - length)
        settings = {**request.settings(), "max_new_tokens": limit, "stopping_criteria": [stopping_criterion]}
        [row] = generate_token_ids(self.model, inputs, request.seed, settings)
        if rest := text.finish(row[length:]):
            emit(TextChunk(text=rest))
        return Answer(
            text=text.emitted,
            finish_reason="stop" if text.ended or row[-1] in self._end_tokens else "length",
            prompt_tokens=length,
            new_tokens=len(row) - length,
        )

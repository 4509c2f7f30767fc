"""automatic-speech-recognition: speech in, its text out, with timestamps if the model has them.

Long speech is read in chunks: most models that label each frame (CTC) get overlapping ones, Whisper moves its window of 30
seconds by itself, and for all others the speech is split where it is quietest.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from pydantic import BaseModel, Field

from .. import runner
from ..fields import ShortText, Sound
from ..media.sounds import read_sound
from ..models.loading import load_pipeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SECONDS = 1800.0
CHUNK_SECONDS = 30  # as long as Whisper's window, and as the speech that most others were trained with
MAX_NEW_TOKENS = 256  # for each chunk, as in transformers' pipeline
STEPS_PER_SECOND = 125  # of a transducer at most: ten for each of its frames, as in the library
PROMPT_TOKENS = 8  # a decoder's first tokens, which state language and task

Timestamps = Literal["none", "word", "segment"]


class Request(runner.Request):
    """The speech, and what to write of it."""

    audio: Sound = Field(description="the speech: WAV, FLAC, MP3, OGG or AIFF, at any rate; up to 30 minutes")
    return_timestamps: Timestamps = Field(
        "none",
        description="timestamps of words (models with CTC, most Whispers) or of segments (Whisper); other models have none",
    )
    language: ShortText | None = Field(
        None, description="the spoken language, as a name or code (multilingual Whisper); null: the model detects it"
    )
    translate: bool = Field(False, description="translate into English, whatever language is spoken (multilingual Whisper)")


class TimedText(BaseModel):
    """A word or a segment."""

    text: str
    start: float | None = Field(description="seconds from the start")
    end: float | None = Field(description="null if the sound ends within it")


class Answer(runner.Answer):
    """The text of the speech."""

    text: str
    chunks: list[TimedText] = Field(description="words or segments with their timestamps; empty if none are requested")


class _FoundChunk(TypedDict):
    text: str
    timestamp: tuple[float | None, float | None]


class _Found(TypedDict, total=False):
    """What the pipeline returns; ``chunks`` only if timestamps are requested."""

    text: str
    chunks: list[_FoundChunk]


class Runner(runner.Runner[Request, Answer]):
    """A model that recognizes speech, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("automatic-speech-recognition", folder)
        self._kind: str = self.pipeline.type
        extractor = self.pipeline.feature_extractor
        self._rate: int = extractor.sampling_rate
        self._chunk: int = extractor.n_samples if self._kind == "seq2seq_whisper" else CHUNK_SECONDS * self._rate

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for what this model does not offer."""
        sound = read_sound(request.audio, self._rate, seconds=MAX_SECONDS)
        options = self._options(request, min(len(sound), self._chunk) / self._rate)
        found: _Found
        if len(sound) <= self._chunk:
            found = self.pipeline(sound, **options)
        elif self._kind == "ctc" and self.pipeline._align_to > 1:
            found = self.pipeline(sound, chunk_length_s=CHUNK_SECONDS, **options)
        elif "segment" in self._supported_timestamps():
            found = self.pipeline(sound, **{"return_timestamps": True, **options})  # Whisper moves its window by them
        else:
            texts = [self.pipeline(chunk, **options)["text"].strip() for chunk in split_speech(sound, self._chunk)]
            found = {"text": " ".join(texts)}
        chunks = found.get("chunks", []) if request.return_timestamps != "none" else []
        return Answer(
            text=found["text"],
            chunks=[
                TimedText(text=each["text"], start=_seconds(each["timestamp"][0]), end=_seconds(each["timestamp"][1]))
                for each in chunks
            ],
        )

    def _options(self, request: Request, seconds: float) -> dict[str, object]:
        """The pipeline's options for chunks of this length. Raises ``BadInput`` for what this model does not offer."""
        supported = self._supported_timestamps()
        if request.return_timestamps not in supported:
            raise runner.BadInput(f"return_timestamps: this model does not have them; request {' or '.join(supported)}")
        options: dict[str, object] = {}
        if request.return_timestamps != "none":
            options["return_timestamps"] = "word" if request.return_timestamps == "word" else True
        whisper_options = self._whisper_options(request)
        if self._kind != "ctc":
            options["generate_kwargs"] = {**self.generation_options(seconds), **whisper_options}
        return options

    def _supported_timestamps(self) -> list[Timestamps]:
        """The kinds of timestamps that this model has."""
        supported: list[Timestamps] = ["none"]
        generation = getattr(self.pipeline.model, "generation_config", None)
        if self._kind == "ctc":
            # The library needs a tokenizer that counts frames, and a configuration that says how long one is.
            if hasattr(self.pipeline.tokenizer, "_get_word_offsets") and self.pipeline._align_to > 1:
                supported.append("word")
        elif self._kind == "seq2seq_whisper" and getattr(generation, "no_timestamps_token_id", None) is not None:
            supported.append("segment")
            if getattr(generation, "alignment_heads", None):
                supported.append("word")
        return supported

    def generation_options(self, seconds: float) -> dict[str, object]:
        """Arguments of ``generate``: no sampling, and no more tokens than the decoder has positions for."""
        if self._kind == "tdt":
            return {"max_new_tokens": math.ceil(seconds * STEPS_PER_SECOND)}
        config = self.pipeline.model.config.get_text_config(decoder=True)
        limits = [getattr(config, name, None) for name in ("max_target_positions", "max_position_embeddings")]
        limit = min((each for each in limits if isinstance(each, int)), default=MAX_NEW_TOKENS + PROMPT_TOKENS) - PROMPT_TOKENS
        new_tokens = limit if self._kind == "seq2seq_whisper" else min(limit, MAX_NEW_TOKENS)
        return {"do_sample": False, "num_beams": 1, "max_new_tokens": new_tokens}

    def _whisper_options(self, request: Request) -> dict[str, object]:
        """Language and task for multilingual Whisper; nothing for other models."""
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        generation = getattr(self.pipeline.model, "generation_config", None)
        known = {token.strip("<|>"): token for token in getattr(generation, "lang_to_id", None) or {}}
        tasks = getattr(generation, "task_to_id", None)
        multilingual = (
            self._kind == "seq2seq_whisper" and getattr(generation, "is_multilingual", False) and bool(known and tasks)
        )
        if (request.language or request.translate) and not multilingual:
            raise runner.BadInput(
                f"{'language' if request.language else 'translate'}: not supported by this model; leave it out"
            )
        chosen: dict[str, object] = {}
        if request.language:
            name = request.language.lower()
            if (code := TO_LANGUAGE_CODE.get(name, name)) not in known:
                raise runner.BadInput(f"language: this model knows {', '.join(sorted(known))}")
            chosen["language"] = known[code]
        if multilingual:
            chosen["task"] = "translate" if request.translate else "transcribe"
        return chosen


def split_speech(sound: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    """Chunks of at most ``size`` samples, each split in the middle of the quietest window of its last sixth.

    ``sound`` has the shape (samples,). A window is a 600th of ``size``: 50 ms of 30 seconds.
    """
    import numpy as np

    chunks, window, start = [], max(1, size // 600), size * 5 // 6
    while len(sound) > size:
        tail = sound[start:size]
        loudness = np.square(tail[: len(tail) // window * window].reshape(-1, window)).sum(axis=1)
        at = start + int(loudness.argmin()) * window + window // 2
        chunks.append(sound[:at])
        sound = sound[at:]
    return [*chunks, sound]


def _seconds(value: float | None) -> float | None:
    return None if value is None else float(value)

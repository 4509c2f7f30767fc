"""automatic-speech-recognition: speech in, its text out, with times where the model has them.

Long speech is taken in pieces: most models that label each moment (CTC) get overlapping ones, Whisper moves its window of 30
seconds by itself, and for all others the speech is split_speech where it is quietest.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from .. import runner
from ..fields import ShortText, Sound
from ..media.sounds import read_sound
from ..models.loading import load_pipeline

MAX_SECONDS = 1800.0
CHUNK_SECONDS = 30  # as long as Whisper's window, and as what most others were trained with
MAX_NEW_TOKENS = 256  # for a piece, as in transformers' pipeline
STEPS_A_SECOND = 125  # of a transducer at most: ten for each of its moments, as in the library
PROMPT_TOKENS = 8  # a decoder's first tokens, which say language and task

Times = Literal["none", "word", "segment"]


class Request(runner.Request):
    audio: Sound = Field(description="the speech: WAV, FLAC, MP3, OGG or AIFF, at any rate; up to 30 minutes")
    return_timestamps: Times = Field(
        "none", description="times of words (models with CTC, most Whispers) or of segments (Whisper); others have none"
    )
    language: ShortText | None = Field(
        None, description="the language that is spoken, as a name or code (Whisper of many languages); left out: found out"
    )
    translate: bool = Field(False, description="write English, whatever is spoken (Whisper of many languages)")


class TimedText(BaseModel):
    """A word or a segment."""

    text: str
    start: float | None = Field(description="seconds from the beginning")
    end: float | None = Field(description="null where the sound ends within it")


class Answer(runner.Answer):
    text: str
    chunks: list[TimedText] = Field(description="words or segments with their times; empty where none are asked for")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = load_pipeline("automatic-speech-recognition", folder)
        self._kind: str = self._pipeline.type
        hearing = self._pipeline.feature_extractor
        self._rate: int = hearing.sampling_rate
        self._piece: int = hearing.n_samples if self._kind == "seq2seq_whisper" else CHUNK_SECONDS * self._rate

    def predict(self, request: Request) -> Answer:
        sound = read_sound(request.audio, self._rate, seconds=MAX_SECONDS)
        options = self._options(request, min(len(sound), self._piece) / self._rate)
        found: dict[str, Any]
        if len(sound) <= self._piece:
            found = self._pipeline(sound, **options)
        elif self._kind == "ctc" and self._pipeline._align_to > 1:
            found = self._pipeline(sound, chunk_length_s=CHUNK_SECONDS, **options)
        elif "segment" in self._able():
            found = self._pipeline(sound, **{"return_timestamps": True, **options})  # it moves its window by them
        else:
            texts = [self._pipeline(piece, **options)["text"].strip() for piece in split_speech(sound, self._piece)]
            found = {"text": " ".join(texts)}
        chunks = found.get("chunks", []) if request.return_timestamps != "none" else []
        return Answer(
            text=found["text"],
            chunks=[
                TimedText(text=each["text"], start=_seconds(each["timestamp"][0]), end=_seconds(each["timestamp"][1]))
                for each in chunks
            ],
        )

    def _options(self, request: Request, seconds: float) -> dict[str, Any]:
        """What the pipeline is told of pieces of so many seconds. Raises ``BadInput`` for what this model cannot do."""
        able = self._able()
        if request.return_timestamps not in able:
            raise runner.BadInput(f"return_timestamps: this model has no times of that kind; ask for {' or '.join(able)}")
        options: dict[str, Any] = {}
        if request.return_timestamps != "none":
            options["return_timestamps"] = "word" if request.return_timestamps == "word" else True
        speech = self._speech(request)
        if self._kind != "ctc":
            options["generate_kwargs"] = {**self._limits(seconds), **speech}
        return options

    def _able(self) -> list[Times]:
        able: list[Times] = ["none"]
        generation = getattr(self._pipeline.model, "generation_config", None)
        if self._kind == "ctc":
            # The library needs a tokenizer that counts moments, and a configuration that says how long one is.
            if hasattr(self._pipeline.tokenizer, "_get_word_offsets") and self._pipeline._align_to > 1:
                able.append("word")
        elif self._kind == "seq2seq_whisper" and getattr(generation, "no_timestamps_token_id", None) is not None:
            able.append("segment")
            if getattr(generation, "alignment_heads", None):
                able.append("word")
        return able

    def _limits(self, seconds: float) -> dict[str, Any]:
        """Nothing is drawn by chance, and no more is written than the decoder has positions for."""
        if self._kind == "tdt":
            return {"max_new_tokens": math.ceil(seconds * STEPS_A_SECOND)}
        config = self._pipeline.model.config.get_text_config(decoder=True)
        held = [getattr(config, name, None) for name in ("max_target_positions", "max_position_embeddings")]
        most = min((each for each in held if isinstance(each, int)), default=MAX_NEW_TOKENS + PROMPT_TOKENS) - PROMPT_TOKENS
        wanted = most if self._kind == "seq2seq_whisper" else min(most, MAX_NEW_TOKENS)
        return {"do_sample": False, "num_beams": 1, "max_new_tokens": wanted}

    def _speech(self, request: Request) -> dict[str, Any]:
        """Whisper's choice of language and task."""
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        generation = getattr(self._pipeline.model, "generation_config", None)
        known = {mark.strip("<|>"): mark for mark in getattr(generation, "lang_to_id", None) or {}}
        tasks = getattr(generation, "task_to_id", None)
        many = self._kind == "seq2seq_whisper" and getattr(generation, "is_multilingual", False) and bool(known and tasks)
        if (request.language or request.translate) and not many:
            raise runner.BadInput(f"{'language' if request.language else 'translate'}: this model has no choice; leave it out")
        chosen: dict[str, Any] = {}
        if request.language:
            name = request.language.lower()
            if (code := TO_LANGUAGE_CODE.get(name, name)) not in known:
                raise runner.BadInput(f"language: this model knows {', '.join(sorted(known))}")
            chosen["language"] = known[code]
        if many:
            chosen["task"] = "translate" if request.translate else "transcribe"
        return chosen


def split_speech(sound: Any, most: int) -> list[Any]:
    """Pieces of at most ``most`` samples, each split_speech in the middle of the quietest stretch of its last sixth."""
    import numpy as np

    pieces, window, start = [], max(1, most // 600), most * 5 // 6
    while len(sound) > most:
        tail = sound[start:most]
        loudness = np.square(tail[: len(tail) // window * window].reshape(-1, window)).sum(axis=1)
        at = start + int(loudness.argmin()) * window + window // 2
        pieces.append(sound[:at])
        sound = sound[at:]
    return [*pieces, sound]


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)

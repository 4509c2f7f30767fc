"""What the table's one tiny model does not show: Whisper, models that write token by token, transducers, and long speech."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steps.serving.media.sounds import encode_wav
from steps.serving.runner import BadInput
from steps.serving.tasks.automatic_speech_recognition import Request, Runner, split_speech
from tests.steps.serving.tasks.speech_models import save_moonshine, save_pair, save_parakeet, save_whisper
from tests.steps.tasks.audio_cases import RATE, save_listener, sound
from tests.steps.tasks.text_cases import pipe

SPEECH = "automatic-speech-recognition"
# The library's advice to those who write generation configurations.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Passing `generation_config`:UserWarning")]


def hearing(factory: pytest.TempPathFactory, save: Callable[[Path], object]) -> Runner:
    folder = factory.mktemp("model")
    save(folder)
    return Runner(folder)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return hearing(tmp_path_factory, save_whisper)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return hearing(tmp_path_factory, save_listener)


def file(seconds: float) -> bytes:
    """The golden sound over and over."""
    return encode_wav(np.resize(sound(SPEECH), int(seconds * RATE)), RATE)


def test_whisper_gives_times_of_segments(whisper: Runner) -> None:
    answer = whisper.predict(Request(audio=file(0.5), return_timestamps="segment"))
    assert "".join(chunk.text for chunk in answer.chunks) == answer.text
    assert len(answer.chunks) > 1
    for chunk in answer.chunks:
        assert chunk.start is not None
        assert chunk.end is None or chunk.start <= chunk.end


def test_whisper_gives_times_of_words(whisper: Runner) -> None:
    answer = whisper.predict(Request(audio=file(0.5), return_timestamps="word"))
    assert len(answer.chunks) > 1
    assert all(chunk.start is not None and chunk.end is not None for chunk in answer.chunks)


def test_whisper_goes_on_behind_its_window(whisper: Runner) -> None:
    """The tiny model's is one second wide."""
    answer = whisper.predict(Request(audio=file(1.5)))
    times = whisper.predict(Request(audio=file(1.5), return_timestamps="segment")).chunks
    assert answer.chunks == []
    assert "".join(chunk.text for chunk in times) == answer.text
    assert max(chunk.start or 0 for chunk in times) > 1


def test_whisper_is_told_the_language_and_the_task(whisper: Runner) -> None:
    def text(**fields: Any) -> str:
        return whisper.predict(Request(audio=file(0.5), **fields)).text

    assert text(language="German") == text(language="de")
    assert len({text(language="en"), text(language="de"), text(language="en", translate=True)}) > 1


def test_an_unknown_language_is_refused(whisper: Runner) -> None:
    with pytest.raises(BadInput, match=r"^language: this model knows de, en$"):
        whisper.predict(Request(audio=file(0.5), language="Klingon"))


def test_english_whisper_takes_no_language_or_timestamps(tmp_path_factory: pytest.TempPathFactory) -> None:
    whisper = hearing(tmp_path_factory, partial(save_whisper, many_languages=False, times=False))
    with pytest.raises(BadInput, match=r"^language: "):
        whisper.predict(Request(audio=file(0.5), language="de"))
    with pytest.raises(BadInput, match=r"^translate: "):
        whisper.predict(Request(audio=file(0.5), translate=True))
    with pytest.raises(BadInput, match=r"^return_timestamps: .*request none$"):
        whisper.predict(Request(audio=file(0.5), return_timestamps="segment"))
    assert whisper.predict(Request(audio=file(1.5))).chunks == []  # longer than its window


@pytest.mark.parametrize("save", [save_moonshine, save_pair, partial(save_parakeet, kind="ParakeetForCTC")])
def test_models_without_timestamps_read_speech_in_chunks(
    save: Callable[[Path], object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("model")
    save(folder)
    model = Runner(folder)
    speech = np.resize(sound(SPEECH), 31 * RATE)
    opened = pipe(SPEECH, folder)
    options = (
        {"max_new_tokens": model.generation_options(30)["max_new_tokens"], "num_beams": 1} if opened.type == "seq2seq" else {}
    )
    pieces = [opened(piece, generate_kwargs=dict(options))["text"].strip() for piece in split_speech(speech, 30 * RATE)]
    assert len(pieces) == 2
    assert model.predict(Request(audio=encode_wav(speech, RATE))).text == " ".join(pieces)
    with pytest.raises(BadInput, match=r"^return_timestamps: "):
        model.predict(Request(audio=file(0.5), return_timestamps="word"))


@pytest.mark.parametrize("kind", ["ParakeetForTDT", "ParakeetForRNNT"])
def test_a_transducer_is_heard(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("model")
    save_parakeet(folder, kind)
    speech = sound(SPEECH)[: RATE // 2]
    said = pipe(SPEECH, folder)(speech, generate_kwargs={"max_new_tokens": 63})["text"]
    assert said
    assert Runner(folder).predict(Request(audio=encode_wav(speech, RATE))).text == said


def test_ctc_models_read_overlapping_chunks(listener: Runner) -> None:
    answer = listener.predict(Request(audio=file(33), return_timestamps="word"))
    assert " ".join(chunk.text for chunk in answer.chunks) == answer.text
    assert 32.5 < (answer.chunks[-1].end or 0) <= 33
    starts = [chunk.start or 0 for chunk in answer.chunks]
    assert starts == sorted(starts)


def test_speech_beyond_half_an_hour_is_refused(listener: Runner) -> None:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(1801 * 1000, np.int16), 1000, "PCM_16", format="FLAC")
    with pytest.raises(BadInput, match=r"^audio: longer than 1800 seconds$"):
        listener.predict(Request(audio=buffer.getvalue()))


def test_a_cut_is_made_where_it_is_quietest() -> None:
    speech = np.ones(100_000, np.float32)
    speech[56_000:56_400] = 0
    one, two = split_speech(speech, 60_000)
    assert 56_000 < len(one) < 56_400
    assert np.array_equal(np.concatenate([one, two]), speech)


def test_chunks_are_short_and_add_up() -> None:
    for speech in (np.zeros(999_983, np.float32), np.random.default_rng(0).normal(size=999_983).astype(np.float32)):
        pieces = split_speech(speech, 60_000)
        assert max(map(len, pieces)) <= 60_000
        assert np.array_equal(np.concatenate(pieces), speech)

"""What the table's one tiny voice does not show: seeds, several voices, music, and the file itself."""

from __future__ import annotations

import io
import wave

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks.text_to_audio import Request, Runner
from steps.tasks.table import TASKS, resolve
from tests.steps.serving.tasks.music_model import save_musician
from tests.steps.tasks.audio_cases import save_speaker

pytestmark = pytest.mark.slow

TEXT = "The harbour of Hamburg was busy."


@pytest.fixture(scope="module")
def choir(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("model")
    save_speaker(folder, num_speakers=2, speaker_embedding_size=8)
    return Runner(folder)


@pytest.fixture(scope="module")
def musician(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("model")
    save_musician(folder)
    return Runner(folder)


def test_the_seed_decides_the_sound(choir: Runner) -> None:
    one, two, other = (choir.predict(Request(text=TEXT, seed=seed)).file() for seed in (7, 7, 8))
    assert one == two != other


def test_the_first_speaker_is_the_default(choir: Runner) -> None:
    none, first, second = (choir.predict(Request(text=TEXT, speaker=speaker)).file() for speaker in (None, 0, 1))
    assert none == first != second
    with pytest.raises(BadInput, match=r"^speaker: this model has 2"):
        choir.predict(Request(text=TEXT, speaker=2))


def test_the_file_is_what_the_answer_says(choir: Runner) -> None:
    answer = choir.predict(Request(text=TEXT))
    with wave.open(io.BytesIO(answer.file())) as file:
        assert (file.getsampwidth(), file.getframerate()) == (2, answer.sampling_rate)
        assert file.getnframes() / file.getframerate() == pytest.approx(answer.seconds)
    assert (answer.file_type, answer.file_first, answer.audio.media_type) == ("audio/wav", True, "audio/wav")


@pytest.mark.parametrize("text", ["漢字", " ", "7"])
def test_a_text_of_unknown_characters_is_refused(choir: Runner, text: str) -> None:
    with pytest.raises(BadInput, match=r"^text: "):
        choir.predict(Request(text=text))


def test_music_has_the_requested_length(musician: Runner) -> None:
    short, long, other = (
        musician.predict(Request(text=TEXT, seconds=seconds, seed=seed)) for seconds, seed in ((1, 0), (2, 0), (1, 1))
    )
    assert [short.seconds, long.seconds] == pytest.approx([1, 2], abs=0.1)
    assert short.file() != other.file()
    assert musician.predict(Request(text=TEXT, seconds=1)).file() == short.file()


def test_a_model_without_its_vocoder_is_refused() -> None:
    task, files = TASKS["text-to-audio"], frozenset({"config.json", "model.safetensors", "vocab.json"})
    for name in ("SpeechT5ForTextToSpeech", "FastSpeech2ConformerModel"):
        why = task.mismatch({"architectures": [name], "model_type": "speecht5"}, files)
        assert why is not None
        assert name in why and "VitsModel" in why  # noqa: PT018
    assert task.mismatch({"architectures": ["VitsModel"], "model_type": "vits"}, files) is None
    assert resolve("text-to-speech") is task

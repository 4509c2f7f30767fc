"""The demo model: loads through transformers' own pipeline, is the same at each training, and is published once."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from pipelines.demo import digits
from pipelines.demo.repository import tip
from steps.core.digest import sha256_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, digits.TrainingResult]:
    folder = tmp_path_factory.mktemp("model")
    return folder, digits.train(folder, epochs=3)


def test_the_folder_holds_what_a_model_repository_holds(trained: tuple[Path, digits.TrainingResult]) -> None:
    folder, result = trained
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]
    assert f"{result.accuracy:.1%} of 360 held-out pictures" in (folder / "README.md").read_text()
    assert result.parameters * 4 < (folder / "model.safetensors").stat().st_size < result.parameters * 4 + 10_000


def test_the_model_card_states_the_accuracy(
    trained: tuple[Path, digits.TrainingResult], capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import pipeline

    folder, result = trained
    classify = pipeline("image-classification", model=str(folder))
    pictures = digits.held_out_pictures(360)
    answers = classify([Image.open(io.BytesIO(png)) for png, _ in pictures], top_k=1)
    right = sum(answer[0]["label"] == label for answer, (_, label) in zip(answers, pictures, strict=True))
    assert result.accuracy == right / 360
    assert result.accuracy > 0.5  # three epochs of fifty; guessing gives 0.1
    assert "Warning" not in capfd.readouterr().err


def test_two_trainings_give_the_same_files(trained: tuple[Path, digits.TrainingResult], tmp_path: Path) -> None:
    folder, result = trained
    again = digits.train(tmp_path, epochs=3)
    assert again.accuracy == result.accuracy
    for name in os.listdir(folder):
        assert sha256_file(tmp_path / name) == sha256_file(folder / name), name


def test_held_out_pictures_are_pngs_of_every_digit() -> None:
    pictures = digits.held_out_pictures(40)
    assert len(pictures) == 40
    assert {label for _, label in pictures} == set("0123456789")
    for png, _ in pictures:
        with Image.open(io.BytesIO(png)) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (64, 64))


def test_an_interrupted_training_publishes_nothing(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match="epoch 5 of 50"):
        digits.prepare(tmp_path, interrupt)
    assert tip(tmp_path, digits.REPOSITORY) is None
    assert os.listdir(tmp_path) == []


def test_what_is_published_is_not_trained_again(trained: tuple[Path, digits.TrainingResult], tmp_path: Path) -> None:
    from pipelines.demo.repository import publish

    folder, _ = trained
    commit = publish(tmp_path, digits.REPOSITORY, folder)
    assert digits.prepare(tmp_path, pytest.fail) == commit

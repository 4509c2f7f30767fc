"""Models that are not whole: missing, other and damaged tensors are found, and what a task does not read may be missing."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from steps.core.contract import Context
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.settings import variable
from steps.frameworks.loaded_weights import check_answer
from tests.steps.frameworks.conftest import load
from tests.steps.tasks.audio_cases import save_sorter
from tests.steps.tasks.detection_cases import save_yolos
from tests.tiny_models import save_text_model

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """A copy of a model with other tensors, and with other settings in its config.json."""

    def edit(folder: Path, change: Callable[[Tensors], Tensors] = dict, **settings: object) -> Path:
        from safetensors.torch import load_file, save_file

        copy = tmp_path / "model"
        shutil.copytree(folder, copy)
        save_file(change(load_file(copy / "model.safetensors")), copy / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps(config | settings))
        return copy

    return edit


def without(*parts: str) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        left = {name: value for name, value in tensors.items() if not any(part in name for part in parts)}
        assert len(left) < len(tensors)
        return left

    return change


def with_value(part: str, value: float) -> Callable[[Tensors], Tensors]:
    """One number of the first tensor whose name has ``part`` in it is another."""

    def change(tensors: Tensors) -> Tensors:
        name = next(name for name in tensors if part in name)
        tensors[name].view(-1)[-1] = value
        return tensors

    return change


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


def refused(folder: Path, context: Context, task: str) -> SlipwayError:
    with pytest.raises(SlipwayError) as caught:
        load(folder, context, task)
    assert caught.value.reason in (Reason.INVALID_WEIGHTS, Reason.INVALID_CONFIG)
    return caught.value


@pytest.mark.slow
@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "parts",
    [("LayerNorm",), ("token_type",), ("layer.1.",), ("layer.0.output.dense.bias",)],
    ids=str,
)
def test_missing_tensors_are_named(
    encoder_folder: Path, edited: Callable[..., Path], context: Context, parts: tuple[str, ...]
) -> None:
    error = refused(edited(encoder_folder, without(*parts)), context, "feature-extraction")
    assert error.reason is Reason.INVALID_WEIGHTS
    assert "BertModel cannot do feature-extraction without tensors that the weights do not hold: " in error.message
    assert parts[0] in error.message
    assert "complete copy" in error.hint


@pytest.mark.slow
@pytest.mark.fault("accepted")
def test_a_pooler_may_be_missing_unless_read(
    encoder_folder: Path, classifier_folder: Path, edited: Callable[..., Path], context: Context, tmp_path: Path
) -> None:
    _, whole = load(encoder_folder, context, "feature-extraction")
    folder = edited(encoder_folder, without("pooler"))
    _, facts = load(folder, context, "feature-extraction")
    assert facts.expected["feature-extraction"].answer == whole.expected["feature-extraction"].answer
    shutil.rmtree(folder)
    error = refused(edited(classifier_folder, without("pooler")), context, "text-classification")
    assert "bert.pooler.dense.bias, bert.pooler.dense.weight" in error.message


@pytest.mark.slow
@pytest.mark.fault("refused")
@pytest.mark.parametrize("part", ["detection_tokens", "class_labels_classifier", "bbox_predictor.layers.2"])
def test_an_empty_answer_hides_no_missing_tensor(
    tmp_path: Path, edited: Callable[..., Path], context: Context, part: str
) -> None:
    save_yolos(tmp_path / "whole")
    error = refused(edited(tmp_path / "whole", without(part)), context, "object-detection")
    assert part in error.message
    assert "YolosForObjectDetection" in error.message


@pytest.mark.slow
@pytest.mark.fault("accepted")
def test_what_only_training_reads_may_be_missing(tmp_path: Path, edited: Callable[..., Path], context: Context) -> None:
    save_sorter(tmp_path / "whole")
    load(edited(tmp_path / "whole", without("masked_spec_embed")), context, "audio-classification")


@pytest.mark.slow
@pytest.mark.fault("refused")
def test_a_checkpoint_without_a_head_is_refused(encoder_folder: Path, edited: Callable[..., Path], context: Context) -> None:
    folder = edited(encoder_folder, architectures=["BertForSequenceClassification"])
    error = refused(folder, context, "text-classification")
    assert "classifier.bias, classifier.weight" in error.message
    assert "no head for text-classification" in error.hint


@pytest.mark.slow
@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: renamed("LayerNorm.weight", "LayerNorm.gamma")(renamed("LayerNorm.bias", "LayerNorm.beta")(tensors)),
        renamed("bert.", ""),
        lambda tensors: {**tensors, "bert.embeddings.position_ids": tensors["classifier.bias"].long()[None]},
        lambda tensors: {**tensors, "bert.attn.masked_bias": tensors["classifier.bias"].new_full((2,), float("-inf"))},
        lambda tensors: {**tensors, "cls.predictions.bias": tensors["classifier.bias"].new_full((2,), float("nan"))},
        lambda tensors: {name: value.half() for name, value in tensors.items()},
    ],
    ids=["old names of norms", "no prefix", "position ids", "an old mask", "another head", "half precision"],
)
def test_usual_checkpoints_still_load(
    classifier_folder: Path, edited: Callable[..., Path], context: Context, change: Callable[[Tensors], Tensors]
) -> None:
    _, facts = load(edited(classifier_folder, change), context, "text-classification")
    assert facts.expected["text-classification"].answer["labels"]


@pytest.mark.slow
@pytest.mark.fault("accepted")
def test_tied_tensors_may_be_left_out(tmp_path: Path, context: Context) -> None:
    from safetensors.torch import load_file

    folder = save_text_model("BertForMaskedLM", tmp_path / "whole")
    assert not [name for name in load_file(folder / "model.safetensors") if "decoder" in name]
    load(folder, context, "fill-mask")


@pytest.mark.slow
@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("value", "dtype"),
    [(float("nan"), "float32"), (float("-inf"), "float32"), (float("nan"), "float16"), (float("inf"), "bfloat16")],
)
def test_numbers_that_are_none_are_refused(
    classifier_folder: Path, edited: Callable[..., Path], context: Context, value: float, dtype: str
) -> None:
    import torch

    name = "bert.encoder.layer.1.output.dense.weight"

    def change(tensors: Tensors) -> Tensors:
        return with_value(name, value)({key: tensor.to(getattr(torch, dtype)) for key, tensor in tensors.items()})

    error = refused(edited(classifier_folder, change, dtype=dtype), context, "text-classification")
    assert error.reason is Reason.INVALID_WEIGHTS
    assert (
        f"The tensor {name} of BertForSequenceClassification holds {'NaN' if value != value else 'infinity'}" in error.message
    )


@pytest.mark.slow
@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vocab_size": 1000}, "word_embeddings.weight of shape (1000, 32), not (26, 32)"),
        ({"hidden_size": 48}, "LayerNorm.bias of shape (48,), not (32,)"),
        ({"num_labels": 7, "id2label": {str(index): "x" for index in range(7)}}, "classifier.weight of shape (7, 32)"),
        ({"num_hidden_layers": 1}, "bert.encoder.layer.1."),
        ({"num_hidden_layers": 3}, "bert.encoder.layer.2."),
        ({"hidden_size": 60_000}, "a tensor of shape (60000, 60000), and the weights hold"),
        ({"max_position_embeddings": 10**9}, "a tensor of shape (1000000000, 32), and the weights hold"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"vocab_size": 10**9}, "vocab_size is 1000000000"),
    ],
    ids=str,
)
def test_a_config_of_another_model_is_refused(
    classifier_folder: Path, edited: Callable[..., Path], context: Context, settings: dict[str, Any], said: str
) -> None:
    begin = time.monotonic()
    assert said in refused(edited(classifier_folder, **settings), context, "text-classification").message
    assert time.monotonic() - begin < 60


@pytest.mark.slow
@pytest.mark.fault("refused")
def test_finite_weights_that_overflow_are_refused(tmp_path: Path, edited: Callable[..., Path], context: Context) -> None:
    folder = save_text_model("BertForMaskedLM", tmp_path / "whole")

    def enlarge(tensors: Tensors) -> Tensors:
        return {name: value * 1e30 if "intermediate" in name else value for name, value in tensors.items()}

    with pytest.raises(SlipwayError) as caught:
        load(edited(folder, enlarge), context, "fill-mask")
    assert caught.value.reason is Reason.LOAD_FAILED
    assert "BertForMaskedLM answers the golden request of fill-mask with NaN in its logits" in caught.value.message


@pytest.mark.slow
@pytest.mark.hard
@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [("load_timeout", "1", Reason.LOAD_FAILED), ("load_memory", "1100", Reason.OUT_OF_MEMORY)],
)
def test_a_model_beyond_its_budget_is_refused(
    vit_folder: Path,
    classifier_folder: Path,
    edited: Callable[..., Path],
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    reason: Reason,
) -> None:
    monkeypatch.setenv(variable(setting), value)
    if setting == "load_timeout":
        folder, task = edited(classifier_folder, num_hidden_layers=480), "text-classification"
    else:
        folder, task = edited(vit_folder), "image-classification"
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        size = {"height": 10**6, "width": 10**6}
        (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "size": size}))
    with pytest.raises(SlipwayError) as caught:
        load(folder, context, task)
    assert caught.value.reason is reason
    assert variable(setting) in caught.value.hint
    assert ("within 1 seconds" if setting == "load_timeout" else "1.2 GB") in caught.value.message


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ({"labels": [{"label": "a", "score": float("nan")}]}, "answer.labels[0].score is nan"),
        ({"features": [[0.5], [float("inf")]]}, "answer.features[1][0] is inf"),
        ({"score": -float("inf")}, "answer.score is -inf"),
    ],
)
@pytest.mark.fault("refused")
def test_an_answer_without_numbers_is_refused(answer: dict[str, Any], where: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        check_answer("fill-mask", answer)
    assert caught.value.reason is Reason.LOAD_FAILED
    assert caught.value.reason.exit_code is ExitCode.MODEL
    assert where in caught.value.message
    assert "fill-mask" in caught.value.message


@pytest.mark.fault("accepted")
def test_an_answer_may_leave_a_score_out() -> None:
    check_answer("document-question-answering", {"answers": [{"answer": "a", "score": None, "start": 0, "found": True}]})

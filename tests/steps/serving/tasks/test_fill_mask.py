"""fill-mask and zero-shot-classification beyond their golden requests: any model's mask, several gaps, labels of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks import fill_mask, zero_shot_classification
from tests.steps.tasks.text_cases import NLI, WIDE, pipe, save_judge
from tests.tiny_models import MAX_LENGTH, save_text_model, small_bert

TEXT = "The [MASK] was busy, and Ada saw the [MASK]."


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> fill_mask.Runner:
    return fill_mask.Runner(save_text_model("BertForMaskedLM", tmp_path_factory.mktemp("filler"), **WIDE))


@pytest.fixture(scope="module")
def other_mask(tmp_path_factory: pytest.TempPathFactory) -> fill_mask.Runner:
    """A model whose mask is ``<mask>``, which takes the space before it along, and whose tokens are bytes."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import AddedToken, RobertaConfig, RobertaForMaskedLM, RobertaTokenizer

    folder = tmp_path_factory.mktemp("other-mask")
    torch.manual_seed(7)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet()), "Ġa"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    mask = AddedToken("<mask>", lstrip=True, special=True)
    tokenizer = RobertaTokenizer(vocab=vocabulary, merges=[("Ġ", "a")], mask_token=mask)
    config = {**small_bert().to_dict(), "model_type": "roberta", "vocab_size": len(tokens), "pad_token_id": 1}
    RobertaForMaskedLM(RobertaConfig.from_dict({**config, "max_position_embeddings": 34})).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return fill_mask.Runner(folder)


def fills(runner: fill_mask.Runner, **fields: Any) -> list[list[fill_mask.Fill]]:
    return runner.predict(fill_mask.Request(**fields)).fills


def test_each_gap_gets_its_words_and_the_others_stay(filler: fill_mask.Runner) -> None:
    first, second = fills(filler, text=TEXT, top_k=3, targets=["crane", "ship", "yard"])
    for each in first:
        assert each.text == f"the {each.token} was busy, and ada saw the [MASK]."
    for each in second:
        assert each.text == f"the [MASK] was busy, and ada saw the {each.token}."
    assert [each.score for each in first] == sorted((each.score for each in first), reverse=True)


def test_targets_choose_among_the_words_and_change_no_score(filler: fill_mask.Runner) -> None:
    [everything] = fills(filler, text="The [MASK] was busy.", top_k=100)
    [chosen] = fills(filler, text="The [MASK] was busy.", top_k=100, targets=["ship", "yard", "ship"])
    assert {each.token for each in chosen} == {"ship", "yard"}
    assert [each for each in everything if each.token in ("ship", "yard")] == chosen


def test_a_mask_is_written_alike_for_every_model(other_mask: fill_mask.Runner) -> None:
    [ours] = fills(other_mask, text="a [MASK] a")
    [own] = fills(other_mask, text="a <mask> a")
    assert ours == own
    first, _ = fills(other_mask, text="a [MASK] a <mask>", targets=[" a"])
    assert first[0].text == "a a a[MASK]"


def test_a_text_that_is_too_long_is_cut_off_even_if_the_tokenizer_does_not_say_where(other_mask: fill_mask.Runner) -> None:
    [found] = fills(other_mask, text="[MASK]" + 500 * "b", top_k=1)
    assert found[0].text.endswith(29 * "b")
    with pytest.raises(BadInput, match=r"^text: it has no \[MASK\] in the first 32 tokens"):
        fills(other_mask, text=500 * "b" + "[MASK]")


@pytest.mark.parametrize("target", ["ab", "\u2603", ""])
def test_a_target_that_is_no_token_is_refused(other_mask: fill_mask.Runner, target: str) -> None:
    with pytest.raises(ValueError, match="targets"):
        fills(other_mask, text="a [MASK]", targets=[" a", target])


def test_texts_of_a_batch_are_answered_as_each_alone(filler: fill_mask.Runner) -> None:
    requests = [fill_mask.Request(text=text) for text in (TEXT, "[MASK]", "Ada Lovelace [MASK] the crane of the yard.")]
    for together, request in zip(filler.predict_all(requests), requests, strict=True):
        alone = filler.predict(request)
        assert [[each.text for each in gap] for gap in together.fills] == [[each.text for each in gap] for gap in alone.fills]


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_judge(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def judge(judge_folder: Path) -> zero_shot_classification.Runner:
    return zero_shot_classification.Runner(judge_folder)


def labels(runner: zero_shot_classification.Runner, **fields: Any) -> dict[str, float]:
    answer = runner.predict(zero_shot_classification.Request(**{"text": "The crane was busy.", **fields}))
    return {each.label: each.score for each in answer.labels}


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("candidates", [["ship"], [*"abcdefgh", "ship", "crane of the yard", "what she liked"]])
def test_scores_are_those_of_the_library(
    judge: zero_shot_classification.Runner, judge_folder: Path, candidates: list[str], multi_label: bool
) -> None:
    options: dict[str, Any] = {"multi_label": multi_label, "hypothesis_template": "Ada saw {}."}
    said = pipe("zero-shot-classification", judge_folder)("The crane was busy.", candidate_labels=candidates, **options)
    found = labels(judge, candidate_labels=candidates, **options)
    assert found == pytest.approx(dict(zip(said["labels"], said["scores"], strict=True)), rel=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert multi_label or sum(found.values()) == pytest.approx(1) or len(candidates) == 1


def test_the_classes_are_found_by_their_names_wherever_they_stand(
    judge_folder: Path, judge: zero_shot_classification.Runner, tmp_path: Path
) -> None:
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(judge_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    order = [1, 2, 0]
    config["id2label"] = {str(place): NLI[index].upper() for place, index in enumerate(order)}
    del config["label2id"]  # id2label alone says which is which
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    head = {name: weights[name][order].clone() for name in ("classifier.weight", "classifier.bias")}
    save_file({**weights, **head}, folder / "model.safetensors", {"format": "pt"})
    candidates = {"candidate_labels": ["ship", "crane"], "multi_label": True}
    moved = labels(zero_shot_classification.Runner(folder), **candidates)
    assert moved == pytest.approx(labels(judge, **candidates), rel=1e-5)


@pytest.mark.parametrize("label", ["{}", "{0.__class__}", "%s", "[SEP]", "[PAD] [PAD]", "\n", "\u2603"])
def test_a_label_is_only_a_text(judge: zero_shot_classification.Runner, label: str) -> None:
    assert labels(judge, candidate_labels=[label, "ship"]).keys() == {label, "ship"}


def test_a_text_is_cut_off_and_a_label_is_not(judge: zero_shot_classification.Runner) -> None:
    candidates = ["ship", "crane " * (MAX_LENGTH - 8)]
    assert labels(judge, text="ship " * 1000, candidate_labels=candidates).keys() == set(candidates)
    with pytest.raises(BadInput, match=r"^candidate_labels\.1: its sentence has 61 tokens; this model reads 60 at most"):
        labels(judge, candidate_labels=["ship", "crane " * (MAX_LENGTH - 7)])

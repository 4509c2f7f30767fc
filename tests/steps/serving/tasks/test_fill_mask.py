"""fill-mask: any model's mask token, several gaps, targets."""

from __future__ import annotations

from typing import Any

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks import fill_mask
from tests.steps.tasks.text_cases import WIDE
from tests.tiny_models import save_text_model, small_bert

pytestmark = pytest.mark.slow

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


def test_each_gap_is_filled_alone(filler: fill_mask.Runner) -> None:
    first, second = fills(filler, text=TEXT, top_k=3, targets=["crane", "ship", "yard"])
    for each in first:
        assert each.text == f"the {each.token} was busy, and ada saw the [MASK]."
    for each in second:
        assert each.text == f"the [MASK] was busy, and ada saw the {each.token}."
    assert [each.score for each in first] == sorted((each.score for each in first), reverse=True)


def test_targets_do_not_change_scores(filler: fill_mask.Runner) -> None:
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


def test_a_long_text_is_cut_off(other_mask: fill_mask.Runner) -> None:
    [found] = fills(other_mask, text="[MASK]" + 500 * "b", top_k=1)
    assert found[0].text.endswith(29 * "b")
    with pytest.raises(BadInput, match=r"^text: it has no \[MASK\] in the first 32 tokens"):
        fills(other_mask, text=500 * "b" + "[MASK]")


@pytest.mark.parametrize("target", ["ab", "\u2603", ""])
def test_a_target_of_several_tokens_is_refused(other_mask: fill_mask.Runner, target: str) -> None:
    with pytest.raises(ValueError, match="targets"):
        fills(other_mask, text="a [MASK]", targets=[" a", target])


def test_a_batch_gives_the_same_fills(filler: fill_mask.Runner) -> None:
    requests = [fill_mask.Request(text=text) for text in (TEXT, "[MASK]", "Ada Lovelace [MASK] the crane of the yard.")]
    for together, request in zip(filler.predict_all(requests), requests, strict=True):
        alone = filler.predict(request)
        assert [[each.text for each in gap] for gap in together.fills] == [[each.text for each in gap] for gap in alone.fills]

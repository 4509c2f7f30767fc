"""The three kinds of models that answer about a page: by words and places, by these and the picture, and by the picture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.serving.runner import BadInput
from steps.serving.tasks.document_question_answering import Request, Runner, Word
from steps.tasks.multimodal import DOCUMENT
from tests.steps.tasks.multimodal_cases import SIZES, WILD, WORDS, save_layoutlm, seed, word_tokenizer

pytestmark = pytest.mark.slow

PAGE = (GOLDEN_FILES / "golden/document.png").read_bytes()
PICTURE = (GOLDEN_FILES / "golden/picture.png").read_bytes()
READ = [Word(text=text, box=box) for text, box in DOCUMENT]


def save_layoutlmv3(folder: Path) -> None:
    """As its authors publish it: its processor would look for words by itself, if it could."""
    from transformers import LayoutLMv3Config, LayoutLMv3ForQuestionAnswering, LayoutLMv3ImageProcessorPil, LayoutLMv3Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    seed()
    letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *bytes_to_unicode().values()]
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    LayoutLMv3Tokenizer(vocab=vocabulary, merges=[], model_max_length=128).save_pretrained(folder)
    LayoutLMv3ImageProcessorPil(size={"height": 32, "width": 32}, apply_ocr=True).save_pretrained(folder)
    places = {"coordinate_size": 4, "shape_size": 8, "input_size": 32, "patch_size": 16, "max_position_embeddings": 130}
    config = LayoutLMv3Config(vocab_size=len(vocabulary), pad_token_id=1, **SIZES, **places, **WILD)
    LayoutLMv3ForQuestionAnswering(config).save_pretrained(folder)


def save_donut(folder: Path) -> None:
    """Writes "<s_answer> two people </s_answer>" to whatever it sees."""
    import torch
    from transformers import (
        DonutImageProcessorPil,
        DonutSwinConfig,
        MBartConfig,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
    )

    seed()
    names = ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"]
    tokenizer = word_tokenizer(WORDS.split(), {f"mark_{index}": name for index, name in enumerate(names)})
    tokenizer.save_pretrained(folder)
    DonutImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    sight = DonutSwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4)
    layers = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "max_position_embeddings": 64}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0, "forced_eos_token_id": None}
    words = MBartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        is_decoder=True,
        add_cross_attention=True,
        tie_word_embeddings=False,
        **layers,
        **ends,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(sight, words)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 4, 0, 3
    model = VisionEncoderDecoderModel(config)
    # The last layer norm passes on a one in the place of each token, and the head knows which token comes next.
    story = tokenizer.convert_tokens_to_ids(["<s_answer>", "two", "people", "</s_answer>", "</s>"])
    decoder = model.decoder
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.zero_()
        decoder.model.decoder.layernorm_embedding.weight.fill_(1)
        decoder.model.decoder.layer_norm.weight.fill_(1)
        for place, (token, following) in enumerate(pairwise(story)):
            decoder.model.decoder.embed_tokens.weight[token, place] = 1
            decoder.lm_head.weight[following, place] = 1
    model.save_pretrained(folder)


def test_a_layout_model_answers_from_words_alone(tmp_path: Path) -> None:
    save_layoutlm(tmp_path)
    runner = Runner(tmp_path)
    answers = runner.predict(Request(question="What is the total?", words=READ, top_k=20)).answers
    assert len(answers) > 3
    for reply in answers:
        assert reply.start is not None
        assert reply.end is not None
        assert reply.answer == " ".join(word.text for word in READ[reply.start : reply.end + 1])
    with pytest.raises(BadInput, match=r"^words: this model does not recognize text"):
        runner.predict(Request(question="What is the total?", image=PAGE))


def test_a_long_page_is_read_in_windows(tmp_path: Path) -> None:
    save_layoutlm(tmp_path)
    runner, many = Runner(tmp_path), READ * 50
    answers = runner.predict(Request(question="What is the total?", words=many, top_k=20)).answers
    assert max(reply.end or 0 for reply in answers) > 64
    with pytest.raises(BadInput, match=r"^question: \d+ tokens"):
        runner.predict(Request(question="what " * 40, words=many))
    assert runner.predict(Request(question="What is the total?", words=many, top_k=20)).answers == answers


def test_some_models_get_words_and_a_picture(tmp_path: Path) -> None:
    save_layoutlmv3(tmp_path)
    runner = Runner(tmp_path)
    page, other = (runner.predict(Request(question="Total?", words=READ, image=image)).answers for image in (PAGE, PICTURE))
    assert page[0].score != other[0].score
    assert page[0].answer
    with pytest.raises(BadInput, match=r"^image: this model reads"):
        runner.predict(Request(question="Total?", words=READ))


def test_donut_writes_its_answer(tmp_path: Path) -> None:
    save_donut(tmp_path)
    runner = Runner(tmp_path)
    for words in ([], READ):
        [reply] = runner.predict(Request(question="what is this ?", image=PAGE, words=words)).answers
        assert reply.model_dump() == {"answer": "two people", "score": None, "start": None, "end": None}
    with pytest.raises(BadInput, match=r"^image: this model reads"):
        runner.predict(Request(question="what is this ?", words=READ))
    with pytest.raises(BadInput, match=r"^question: \d+ tokens"):
        runner.predict(Request(question="what " * 40, image=PAGE))


@pytest.mark.parametrize(
    "word",
    [
        {"text": "a", "box": [5, 0, 4, 9]},
        {"text": "a", "box": [0, 9, 4, 8]},
        {"text": "a", "box": [-1, 0, 4, 9]},
        {"text": "a", "box": [0, 0, 4]},
        {"text": "", "box": [0, 0, 4, 9]},
        {"text": "a", "box": [0, 0, 4, 9], "page": 2},
    ],
)
def test_boxes_of_words_are_checked(word: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Request(question="Total?", words=[word])
    assert caught.value.errors()[0]["loc"][0] == "words"

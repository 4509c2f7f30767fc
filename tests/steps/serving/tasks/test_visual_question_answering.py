"""visual-question-answering: models that write an answer, and models that choose one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.serving.runner import BadInput
from steps.serving.tasks import visual_question_answering
from tests.steps.tasks.image_cases import picture
from tests.steps.tasks.multimodal_cases import SIZES, WILD, save_vilt, seed
from tests.tiny_models import VOCABULARY, save_tokenizer

pytestmark = pytest.mark.slow

PICTURE = (GOLDEN_FILES / "golden/picture.png").read_bytes()


ENDS = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}


def blip_config() -> Any:
    from transformers import BlipConfig

    words = {"vocab_size": len(VOCABULARY), "encoder_hidden_size": 32, "max_position_embeddings": 32, **SIZES, **ENDS, **WILD}
    return BlipConfig(text_config=words, vision_config={"image_size": 16, "patch_size": 8, **SIZES}, projection_dim=16)


def save_blip(folder: Path, kind: str = "BlipForConditionalGeneration") -> Any:
    import transformers

    seed()
    getattr(transformers, kind)(blip_config()).save_pretrained(folder)
    processor = transformers.BlipImageProcessorPil(size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    return processor


def test_a_generated_answer_has_no_score(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BlipForQuestionAnswering

    processor = save_blip(tmp_path, "BlipForQuestionAnswering")
    save_tokenizer(tmp_path)
    runner = visual_question_answering.Runner(tmp_path)
    question = "what is in the harbour ?"
    answer = runner.predict(visual_question_answering.Request(image=PICTURE, question=question))
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), BlipForQuestionAnswering.from_pretrained(tmp_path).eval()
    pixels = processor(picture("image-to-text"), return_tensors="pt")["pixel_values"]
    words = tokenizer(question, return_tensors="pt")
    written = model.generate(
        input_ids=words.input_ids, attention_mask=words.attention_mask, pixel_values=pixels, do_sample=False, max_new_tokens=30
    )
    said = tokenizer.decode(written[0], skip_special_tokens=True).strip()
    assert [reply.model_dump() for reply in answer.answers] == [{"answer": said, "score": None}]
    assert said
    with pytest.raises(BadInput, match=r"^question: \d+ tokens"):
        runner.predict(visual_question_answering.Request(image=PICTURE, question="what " * 60))


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (6, 6), (1000, 6)])
def test_no_more_answers_than_the_model_knows(top_k: int, count: int, tmp_path: Path) -> None:
    save_vilt(tmp_path)
    runner = visual_question_answering.Runner(tmp_path)
    request = visual_question_answering.Request(image=PICTURE, question="what is it", top_k=top_k)
    scores = [reply.score or 0.0 for reply in runner.predict(request).answers]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == count

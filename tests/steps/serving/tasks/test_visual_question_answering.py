"""visual-question-answering: models that write an answer, and models that choose one."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.serving.runner import BadInput
from steps.serving.tasks import visual_question_answering
from tests.steps.tasks.image_cases import picture
from tests.steps.tasks.multimodal_cases import save_blip, save_vilt
from tests.tiny_models import save_tokenizer

pytestmark = pytest.mark.slow

PICTURE = (GOLDEN_FILES / "golden/picture.png").read_bytes()


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

"""Cases of the tasks that classify a text, encode it, or find something in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.steps.tasks.cases import Bad, Case, golden
from tests.tiny_models import MAX_LENGTH, VOCABULARY, labelled, save_text_model


def pipe(task: str, folder: Path, **options: Any) -> Any:
    from transformers import pipeline

    return pipeline(task, model=str(folder), device="cpu", **options)


def classify(folder: Path) -> dict[str, Any]:
    return {"labels": pipe("text-classification", folder)(golden("text-classification")["text"], top_k=5)}


def tag(folder: Path) -> dict[str, Any]:
    found = pipe("token-classification", folder, aggregation_strategy="simple")(golden("token-classification")["text"])
    return {"entities": [{"entity": group.pop("entity_group"), **group, "score": float(group["score"])} for group in found]}


def extract(folder: Path) -> dict[str, Any]:
    return {"features": pipe("feature-extraction", folder)(golden("feature-extraction")["text"])[0]}


NLI = ("contradiction", "neutral", "entailment")
WIDE = {"initializer_range": 0.4}  # so that scores differ


def save_pair_model(kind: str, folder: Path, **settings: Any) -> Path:
    """A model that reads two texts and knows which is which, by BERT's own tokenizer."""
    from transformers import BertTokenizer

    save_text_model(kind, folder, **WIDE, **settings)
    vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
    BertTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH).save_pretrained(folder)
    return folder


def save_judge(folder: Path, labels: tuple[str, ...] = NLI) -> Path:
    """A model that tells whether one text follows from another."""
    names = dict(enumerate(labels))
    numbers = {name: number for number, name in names.items()}
    return save_pair_model("BertForSequenceClassification", folder, id2label=names, label2id=numbers)


def fill(folder: Path) -> dict[str, Any]:
    request = golden("fill-mask")
    found = pipe("fill-mask", folder)(request["text"], top_k=request["top_k"])
    names = {"token_str": "token", "token": "token_id", "score": "score", "sequence": "text"}
    return {"fills": [[{names[name]: value for name, value in each.items()} for each in found]]}


def judge(folder: Path) -> dict[str, Any]:
    request = golden("zero-shot-classification")
    found = pipe("zero-shot-classification", folder)(request["text"], candidate_labels=request["candidate_labels"])
    return {"labels": [{"label": label, "score": score} for label, score in zip(found["labels"], found["scores"], strict=True)]}


def answer(folder: Path) -> dict[str, Any]:
    """Every span of every window, one by one, from the library's model; there is no pipeline for it any more."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    request = golden("question-answering")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForQuestionAnswering.from_pretrained(folder)
    windows = tokenizer(
        request["question"],
        request["context"],
        truncation="only_second",
        max_length=MAX_LENGTH,
        stride=MAX_LENGTH // 3,
        return_overflowing_tokens=True,
    )
    assert len(windows["input_ids"]) > 1, "the text fits into one window, so they are not tested"
    scores: dict[tuple[int, int], float] = {}
    for window, tokens in enumerate(windows["input_ids"]):
        text = [at for at, sequence in enumerate(windows.sequence_ids(window)) if sequence == 1]
        with torch.inference_mode():
            output = model(torch.tensor([tokens]), token_type_ids=torch.tensor([windows["token_type_ids"][window]]))
        kept = [0, *text]  # [CLS] is first
        starts = dict(zip(kept, output.start_logits[0, kept].softmax(-1).tolist(), strict=True))
        ends = dict(zip(kept, output.end_logits[0, kept].softmax(-1).tolist(), strict=True))
        words = {at: windows.word_to_chars(window, windows.token_to_word(window, at), 1) for at in text}
        for first in text:
            for last in range(first, min(first + 15, text[-1] + 1)):
                span = words[first].start, words[last].end
                scores[span] = max(scores.get(span, 0.0), starts[first] * ends[last])
    best = sorted(scores, key=lambda span: -scores[span])[: request["top_k"]]
    return {
        "answers": [
            {"answer": request["context"][start:end], "score": scores[start, end], "start": start, "end": end}
            for start, end in best
        ]
    }


CASES = (
    Case(
        "text-classification",
        lambda folder: save_text_model("BertForSequenceClassification", folder, **labelled()),
        classify,
        (Bad("top_k", {"top_k": 0}), Bad("text", {"text": ...}), Bad("text", {"text": 7}), Bad("colour", {"colour": "red"})),
    ),
    Case(
        "token-classification",
        lambda folder: save_text_model("BertForTokenClassification", folder, **labelled()),
        tag,
        (Bad("aggregation", {"aggregation": "loud"}), Bad("text", {"text": ""})),
        batch_fields={"aggregation": "none"},
    ),
    Case(
        "feature-extraction",
        lambda folder: save_text_model("BertModel", folder),
        extract,
        (Bad("pooling", {"pooling": "max"}),),
    ),
    Case(
        "fill-mask",
        lambda folder: save_text_model("BertForMaskedLM", folder, **WIDE),
        fill,
        (
            Bad("text", {"text": "There is no gap."}),
            Bad("text", {"text": "[MASK] " * 17}),
            Bad("top_k", {"top_k": 101}),
            Bad("targets", {"targets": ["Rotterdam"]}),
            Bad("targets", {"targets": []}),
        ),
    ),
    Case(
        "zero-shot-classification",
        save_judge,
        judge,
        (
            Bad("candidate_labels", {"candidate_labels": []}),
            Bad("candidate_labels", {"candidate_labels": ["ship " * 99]}),
            Bad("hypothesis_template", {"hypothesis_template": "This is about ships."}),
            Bad("hypothesis_template", {"hypothesis_template": "{0.__class__} {}"}),
            Bad("hypothesis_template", {"hypothesis_template": "{} or {}"}),
            Bad("multi_label", {"multi_label": "perhaps"}),
        ),
    ),
    Case(
        "question-answering",
        lambda folder: save_pair_model("BertForQuestionAnswering", folder),
        answer,
        (
            Bad("context", {"context": ...}),
            Bad("context", {"context": " \n"}),
            Bad("question", {"question": "ship " * 30}),
            Bad("top_k", {"top_k": 0}),
            Bad("max_answer_length", {"max_answer_length": 101}),
        ),
    ),
)

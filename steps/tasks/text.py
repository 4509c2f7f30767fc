"""Tasks that take a text and tell about it."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.architectures import classes_of
from steps.tasks.base import TOKENIZER, Task

SENTENCE = "The harbour of Hamburg was busy when Ada Lovelace arrived, and she liked what she saw."
STORY = (
    f"{SENTENCE} The ships were loaded by the crane at the yard, and the crane was busy. She saw a ship, and another ship. "
    "When she was at the yard, the harbour was hers, and what she liked was the ship of Ada and the crane of Hamburg. "
    "The busy ships arrived at the harbour, and Ada Lovelace saw that Hamburg liked her."
)

# They answer questions too, but want a page or a picture beside the text, or their tokenizers do not tell where a token is.
NO_PLAIN_TEXT = {
    "LayoutLMv2ForQuestionAnswering",
    "LayoutLMv3ForQuestionAnswering",
    "LxmertForQuestionAnswering",
    "MarkupLMForQuestionAnswering",
    "CanineForQuestionAnswering",
    "FlaubertForQuestionAnsweringSimple",
    "RoCBertForQuestionAnswering",
    "XLMForQuestionAnsweringSimple",
}
# Their tokenizers take no text alone, but words with their places on a page, a web page, or a table.
PAGES = frozenset({"layoutlmv2", "layoutlmv3", "markuplm", "tapas"})

TASKS = (
    Task(
        name="text-classification",
        title="Which of the model's classes a text belongs to",
        family="text",
        service="text_classification",
        aliases=("sentiment-analysis",),
        mappings=("SEQUENCE_CLASSIFICATION",),
        never=PAGES,
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "top_k": 5}),
        batch=16,
    ),
    Task(
        name="token-classification",
        title="Which words of a text mean something, and what",
        family="text",
        service="token_classification",
        aliases=("ner",),
        mappings=("TOKEN_CLASSIFICATION",),
        never=PAGES,
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "aggregation": "simple"}),
        batch=16,
    ),
    Task(
        name="feature-extraction",
        title="The vectors that a model makes of a text",
        family="text",
        service="feature_extraction",
        mappings=("TEXT_ENCODING", "MASKED_LM", "CAUSAL_LM", "SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION"),
        any_head=True,
        never=PAGES,
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "pooling": "none"}),
        batch=16,
    ),
    Task(
        name="fill-mask",
        title="Which words fit into the gaps of a text",
        family="text",
        service="fill_mask",
        mappings=("MASKED_LM",),
        never=PAGES,
        # Saved as they came from training, with a second head that is left out here.
        classes=(
            "AlbertForPreTraining",
            "BertForPreTraining",
            "BigBirdForPreTraining",
            "ErnieForPreTraining",
            "FNetForPreTraining",
            "MegatronBertForPreTraining",
            "MobileBertForPreTraining",
        ),
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE.replace("busy", "[MASK]"), "top_k": 5}),
        batch=8,  # each has scores for all tokens times all words of the vocabulary: more would take gigabytes
    ),
    Task(
        name="zero-shot-classification",
        title="Which of the labels that come with a text it is about",
        family="text",
        service="zero_shot_classification",
        mappings=("SEQUENCE_CLASSIFICATION",),
        never=PAGES,
        needs=(TOKENIZER,),
        labels=("entail",),
        golden=GoldenRequest(fields={"text": SENTENCE, "candidate_labels": ["ship", "what she liked", "Hamburg"]}),
    ),
    Task(
        name="question-answering",
        title="Where in a text the answer to a question is",
        family="text",
        service="question_answering",
        classes=tuple(sorted(classes_of(("QUESTION_ANSWERING",)) - NO_PLAIN_TEXT)),
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"question": "What was busy when Ada arrived?", "context": STORY, "top_k": 3}),
        batch=8,
    ),
)

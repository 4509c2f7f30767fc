"""Tasks that classify a text, encode it, or find something in it."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.architectures import architectures_in
from steps.tasks.base import TOKENIZER, Task

SENTENCE = "The harbour of Hamburg was busy when Ada Lovelace arrived, and she liked what she saw."
STORY = (
    f"{SENTENCE} The ships were loaded by the crane at the yard, and the crane was busy. She saw a ship, and another ship. "
    "When she was at the yard, the harbour was hers, and what she liked was the ship of Ada and the crane of Hamburg. "
    "The busy ships arrived at the harbour, and Ada Lovelace saw that Hamburg liked her."
)

# Classes for question answering that need a page or an image beside the text, or whose tokenizers give no character offsets.
NOT_TEXT_ALONE = {
    "LayoutLMv2ForQuestionAnswering",
    "LayoutLMv3ForQuestionAnswering",
    "LxmertForQuestionAnswering",
    "MarkupLMForQuestionAnswering",
    "CanineForQuestionAnswering",
    "FlaubertForQuestionAnsweringSimple",
    "RoCBertForQuestionAnswering",
    "XLMForQuestionAnsweringSimple",
}
# Model types whose tokenizers take words with their boxes on a page, a web page or a table, not a text alone.
PAGE_MODEL_TYPES = frozenset({"layoutlmv2", "layoutlmv3", "markuplm", "tapas"})

TASKS = (
    Task(
        name="text-classification",
        title="Classify a text with the model's labels",
        family="text",
        auto=True,
        aliases=("sentiment-analysis",),
        mappings=("SEQUENCE_CLASSIFICATION",),
        excluded_model_types=PAGE_MODEL_TYPES,
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "top_k": 5}),
        max_batch_size=16,
    ),
    Task(
        name="token-classification",
        title="Find the words of a text that name or mean something, such as people and places, and label them",
        family="text",
        auto=True,
        aliases=("ner",),
        mappings=("TOKEN_CLASSIFICATION",),
        excluded_model_types=PAGE_MODEL_TYPES,
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "aggregation": "simple"}),
        max_batch_size=16,
    ),
    Task(
        name="feature-extraction",
        title="Compute the vectors (embeddings) of a text",
        family="text",
        auto=True,
        mappings=("TEXT_ENCODING", "MASKED_LM", "CAUSAL_LM", "SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION"),
        any_head=True,
        excluded_model_types=PAGE_MODEL_TYPES,
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "pooling": "none"}),
        max_batch_size=16,
    ),
    Task(
        name="fill-mask",
        title="Predict the masked words of a text",
        family="text",
        auto=True,
        mappings=("MASKED_LM",),
        excluded_model_types=PAGE_MODEL_TYPES,
        # Saved with the second head of the pre-training, which is not used.
        architectures=(
            "AlbertForPreTraining",
            "BertForPreTraining",
            "BigBirdForPreTraining",
            "ErnieForPreTraining",
            "FNetForPreTraining",
            "MegatronBertForPreTraining",
            "MobileBertForPreTraining",
        ),
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE.replace("busy", "[MASK]"), "top_k": 5}),
        max_batch_size=8,  # scores are tokens × vocabulary for each request: larger batches would take gigabytes
    ),
    Task(
        name="zero-shot-classification",
        title="Classify a text with labels that are given in the request",
        family="text",
        auto=True,
        mappings=("SEQUENCE_CLASSIFICATION",),
        excluded_model_types=PAGE_MODEL_TYPES,
        components=(TOKENIZER,),
        required_labels=("entail",),
        golden=GoldenRequest(fields={"text": SENTENCE, "candidate_labels": ["ship", "what she liked", "Hamburg"]}),
    ),
    Task(
        name="question-answering",
        title="Find the answer to a question in a text",
        family="text",
        auto=True,
        architectures=tuple(sorted(architectures_in(("QUESTION_ANSWERING",)) - NOT_TEXT_ALONE)),
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"question": "What was busy when Ada arrived?", "context": STORY, "top_k": 3}),
        max_batch_size=8,
    ),
)

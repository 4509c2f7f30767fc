"""Tasks that take a text."""

from __future__ import annotations

from steps.documents import Golden
from steps.tasks.task import TOKENIZER_FILES, Task

SENTENCE = "The harbour of Hamburg was busy when Ada Lovelace arrived, and she liked what she saw."
CURL = "-H 'Content-Type: application/json' -d '{{\"text\": \"Ada Lovelace liked the harbour of Hamburg.\"}}'"

TASKS = (
    Task(
        name="text-classification",
        title="Which of the model's classes a text belongs to",
        family="text",
        service="text_classification",
        aliases=("sentiment-analysis",),
        heads=("ForSequenceClassification",),
        needs=(TOKENIZER_FILES,),
        golden=Golden(fields={"text": SENTENCE, "top_k": 5}),
        curl=CURL,
    ),
    Task(
        name="token-classification",
        title="Which words of a text mean something, and what",
        family="text",
        service="token_classification",
        aliases=("ner",),
        heads=("ForTokenClassification",),
        needs=(TOKENIZER_FILES,),
        golden=Golden(fields={"text": SENTENCE, "aggregation": "simple"}),
        curl=CURL,
    ),
    Task(
        name="feature-extraction",
        title="The vectors that a model makes of a text",
        family="text",
        service="feature_extraction",
        aliases=(),
        heads=(),
        needs=(TOKENIZER_FILES,),
        golden=Golden(fields={"text": SENTENCE, "pooling": "none"}),
        curl=CURL,
    ),
)

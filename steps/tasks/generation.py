"""Tasks that write a text."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.architectures import classes_of
from steps.tasks.base import TOKENIZER, Task
from steps.tasks.text import SENTENCE

# transformers counts models that hear among those of this kind; a text alone is not what they take.
HEARING = (
    *classes_of(("SPEECH_SEQ_2_SEQ",)),
    *("AudioFlamingo3ForConditionalGeneration", "MusicFlamingoForConditionalGeneration", "Qwen2AudioForConditionalGeneration"),
    *("GlmAsrForConditionalGeneration", "Nemotron3_5TranscribeForConditionalGeneration"),
    "MossTranscribeDiarizeForConditionalGeneration",
)
REWRITING = tuple(sorted(classes_of(("SEQ_TO_SEQ_CAUSAL_LM",)) - set(HEARING)))

TASKS = (
    Task(
        name="text-generation",
        title="What a model goes on with after a text, or answers in a conversation",
        family="text",
        service="text_generation",
        mappings=("CAUSAL_LM",),
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"prompt": SENTENCE, "max_new_tokens": 24}),
        streams=True,
    ),
    Task(
        name="summarization",
        title="A short text that says what a long one says",
        family="text",
        service="summarization",
        classes=REWRITING,
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "max_new_tokens": 24}),
        batch=8,
    ),
    Task(
        name="translation",
        title="A text in another language",
        family="text",
        service="translation",
        classes=REWRITING,
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "max_new_tokens": 24}),
        batch=8,
    ),
    Task(
        name="text2text-generation",
        title="What a model was taught to make of a text",
        family="text",
        service="text2text_generation",
        classes=REWRITING,
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "max_new_tokens": 24}),
        batch=8,
    ),
)

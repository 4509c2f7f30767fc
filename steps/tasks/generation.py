"""Tasks that generate a text from a text."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.architectures import architectures_in
from steps.tasks.base import TOKENIZER, Task
from steps.tasks.text import SENTENCE

# Classes in transformers' table of text-to-text models that take audio, not a text alone.
AUDIO_INPUT = (
    *architectures_in(("SPEECH_SEQ_2_SEQ",)),
    *("AudioFlamingo3ForConditionalGeneration", "MusicFlamingoForConditionalGeneration", "Qwen2AudioForConditionalGeneration"),
    *("GlmAsrForConditionalGeneration", "Nemotron3_5TranscribeForConditionalGeneration"),
    "MossTranscribeDiarizeForConditionalGeneration",
)
TEXT_TO_TEXT = tuple(sorted(architectures_in(("SEQ_TO_SEQ_CAUSAL_LM",)) - set(AUDIO_INPUT)))

TASKS = (
    Task(
        name="text-generation",
        title="Continue a text, or reply in a conversation",
        family="text",
        auto=True,
        mappings=("CAUSAL_LM",),
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"prompt": SENTENCE, "max_new_tokens": 24}),
        streams=True,
    ),
    Task(
        name="summarization",
        title="Summarize a text",
        family="text",
        auto=True,
        architectures=TEXT_TO_TEXT,
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "max_new_tokens": 24}),
        max_batch_size=8,
    ),
    Task(
        name="translation",
        title="Translate a text into another language",
        family="text",
        auto=True,
        architectures=TEXT_TO_TEXT,
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "max_new_tokens": 24}),
        max_batch_size=8,
    ),
    Task(
        name="text2text-generation",
        title="Rewrite a text as the model was trained to",
        family="text",
        auto=True,
        architectures=TEXT_TO_TEXT,
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": SENTENCE, "max_new_tokens": 24}),
        max_batch_size=8,
    ),
)

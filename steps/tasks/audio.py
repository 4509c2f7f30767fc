"""Tasks with audio as input or output."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.base import FEATURE_EXTRACTOR, TOKENIZER, Task

AUDIO = "golden/sound.wav"
# Of transformers' models that generate text from speech, those that take speech alone. The others need a prompt with a
# placeholder for the speech, or the name of a language, and transformers' pipeline passes neither.
SPEECH_TO_TEXT = (
    "WhisperForConditionalGeneration",
    "MoonshineForConditionalGeneration",
    "SpeechEncoderDecoderModel",
)
# A model whose output is a spectrogram (SpeechT5, FastSpeech2) needs a vocoder from another repository. Other models need
# voices, languages or phonemes that transformers' pipeline does not pass.
TEXT_TO_AUDIO = ("VitsModel", "MusicgenForConditionalGeneration")

TASKS = (
    Task(
        name="audio-classification",
        title="Classify a sound with the model's labels",
        family="audio",
        auto=True,
        mappings=("AUDIO_CLASSIFICATION",),
        components=(FEATURE_EXTRACTOR,),
        golden=GoldenRequest(fields={"top_k": 5}, files={"audio": AUDIO}),
    ),
    Task(
        name="automatic-speech-recognition",
        title="Transcribe speech, with timestamps",
        family="audio",
        auto=True,
        mappings=("CTC", "TDT", "RNNT"),
        architectures=SPEECH_TO_TEXT,
        components=(FEATURE_EXTRACTOR, TOKENIZER),
        golden=GoldenRequest(fields={"return_timestamps": "word"}, files={"audio": AUDIO}),
    ),
    Task(
        name="text-to-audio",
        title="Synthesize speech or music from a text",
        family="audio",
        auto=True,
        aliases=("text-to-speech",),
        architectures=TEXT_TO_AUDIO,
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": "The harbour of Hamburg was busy.", "seed": 7}),
    ),
    Task(
        name="zero-shot-audio-classification",
        title="Classify a sound with labels that are given in the request",
        family="audio",
        auto=True,
        architectures=("ClapModel",),
        components=(FEATURE_EXTRACTOR, TOKENIZER),
        golden=GoldenRequest(
            fields={
                "candidate_labels": ["a ship", "a busy harbour", "a crane"],
                "hypothesis_template": "This sounds like {}.",
            },
            files={"audio": AUDIO},
        ),
    ),
)

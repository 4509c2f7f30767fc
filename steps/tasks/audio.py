"""Tasks that hear or speak."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.base import FEATURE_EXTRACTOR, TOKENIZER, Task

SOUND = "golden/sound.wav"
# Of transformers' models that turn speech into text token by token, those that take the speech alone: the others want a
# prompt with the speech's place in it, or the name of a language, and its pipeline gives them neither.
LISTENERS = (
    "WhisperForConditionalGeneration",
    "MoonshineForConditionalGeneration",
    "SpeechEncoderDecoderModel",
)
# A model that ends in a spectrogram (SpeechT5, FastSpeech2) needs a vocoder, which is another repository's; others that end in
# sound want voices, languages or phonemes that transformers' pipeline does not give them.
SPEAKERS = ("VitsModel", "MusicgenForConditionalGeneration")

TASKS = (
    Task(
        name="audio-classification",
        title="Which of the model's classes a sound belongs to",
        family="audio",
        service="audio_classification",
        mappings=("AUDIO_CLASSIFICATION",),
        needs=(FEATURE_EXTRACTOR,),
        golden=GoldenRequest(fields={"top_k": 5}, files={"audio": SOUND}),
    ),
    Task(
        name="automatic-speech-recognition",
        title="What is said, as text, with times",
        family="audio",
        service="automatic_speech_recognition",
        mappings=("CTC", "TDT", "RNNT"),
        classes=LISTENERS,
        needs=(FEATURE_EXTRACTOR, TOKENIZER),
        golden=GoldenRequest(fields={"return_timestamps": "word"}, files={"audio": SOUND}),
    ),
    Task(
        name="text-to-audio",
        title="A text as speech or music",
        family="audio",
        service="text_to_audio",
        aliases=("text-to-speech",),
        classes=SPEAKERS,
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"text": "The harbour of Hamburg was busy.", "seed": 7}),
    ),
    Task(
        name="zero-shot-audio-classification",
        title="How well a sound fits labels that come with it",
        family="audio",
        service="zero_shot_audio_classification",
        classes=("ClapModel",),
        needs=(FEATURE_EXTRACTOR, TOKENIZER),
        golden=GoldenRequest(
            fields={
                "candidate_labels": ["a ship", "a busy harbour", "a crane"],
                "hypothesis_template": "This sounds like {}.",
            },
            files={"audio": SOUND},
        ),
    ),
)

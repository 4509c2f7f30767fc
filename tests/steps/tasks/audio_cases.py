"""Cases of the tasks with audio as input or output."""

from __future__ import annotations

import base64
import io
import json
import wave
from pathlib import Path
from typing import Any

from tests.steps.tasks.cases import Bad, Case, golden
from tests.steps.tasks.text_cases import pipe
from tests.tiny_models import CARD, VOCABULARY, labelled, save_tokenizer

RATE = 16_000
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoinshrdlu"]


def sound(task: str) -> Any:
    """Return the samples of the golden audio."""
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(golden(task)["audio"]), dtype="float32")
    assert rate == RATE
    return samples


def wav2vec2(**settings: Any) -> Any:
    """A configuration of wav2vec2 with two layers, and as many samples to a frame as the real one has."""
    from transformers import Wav2Vec2Config

    convolutions = {"conv_dim": (16,) * 7, "num_feat_extract_layers": 7, "num_conv_pos_embeddings": 8}
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return Wav2Vec2Config(
        **convolutions, **sizes, num_conv_pos_embedding_groups=2, classifier_proj_size=16, pad_token_id=0, **settings
    )


def save_sorter(folder: Path) -> None:
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    torch.manual_seed(7)
    Wav2Vec2ForSequenceClassification(wav2vec2(**labelled())).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(folder)
    (folder / "README.md").write_text(CARD)


def save_listener(folder: Path) -> None:
    """Save a wav2vec2 that recognizes random letters and spaces."""
    import torch
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    torch.manual_seed(7)
    model = Wav2Vec2ForCTC(wav2vec2(vocab_size=len(LETTERS))).eval()
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=False)
    features = extractor(sound("automatic-speech-recognition"), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 1)
        model.lm_head.weight[4] *= 3  # the space
        # Without the mean over time, or it would recognize one letter only.
        model.lm_head.bias.copy_(-model.lm_head.weight @ model.wav2vec2(**features)[0][0].mean(dim=0))
        model.lm_head.bias[:4] -= 100  # no padding, and none of the special tokens
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: index for index, letter in enumerate(LETTERS)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    extractor.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)


def save_speaker(folder: Path, **settings: Any) -> None:
    """Save a VITS whose speech is noise."""
    import torch
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    torch.manual_seed(7)
    names = {letter: index for index, letter in enumerate("_ abcdefghijklmnopqrstuvwxyz'-")}
    (folder / "vocab.json").write_text(json.dumps(names))
    VitsTokenizer(folder / "vocab.json", phonemize=False, pad_token="_", unk_token="_").save_pretrained(folder)
    layers = {"num_hidden_layers": 1, "prior_encoder_num_flows": 2, "duration_predictor_num_flows": 2}
    nets = {"prior_encoder_num_wavenet_layers": 1, "posterior_encoder_num_wavenet_layers": 1, "depth_separable_num_layers": 1}
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "ffn_dim": 16, "flow_size": 16, "spectrogram_bins": 33}
    ends = {"upsample_initial_channel": 16, "upsample_rates": [8, 8], "upsample_kernel_sizes": [16, 16]}
    blocks = {"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]], "duration_predictor_filter_channels": 16}
    config = VitsConfig(vocab_size=len(names), **layers, **nets, **sizes, **ends, **blocks, **settings)
    model = VitsModel(config)
    with torch.no_grad():
        model.decoder.conv_post.weight.mul_(0.1)  # or the samples would be clipped
    model.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)


def save_matcher(folder: Path) -> None:
    """Save a CLAP for audio of 48 kHz, as real ones, that takes one second of it, where they take ten."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.manual_seed(7)
    text = {"vocab_size": len(VOCABULARY), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "max_position_embeddings": 66, "projection_dim": 8, "pad_token_id": 0}
    spectrogram = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "window_size": 4,
        "depths": [1, 1],
    }
    sizes = {"patch_embeds_hidden_size": 8, "num_attention_heads": [1, 2], "hidden_size": 16, "projection_dim": 8}
    config = ClapConfig(text_config={**text, **more}, audio_config={**spectrogram, **sizes}, projection_dim=8)
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(feature_size=16, max_length_s=1, truncation="rand_trunc").save_pretrained(folder)
    save_tokenizer(folder)
    (folder / "README.md").write_text(CARD)


def sort(folder: Path) -> dict[str, Any]:
    return {"labels": pipe("audio-classification", folder)(sound("audio-classification"), top_k=5)}


def listen(folder: Path) -> dict[str, Any]:
    found = pipe("automatic-speech-recognition", folder)(sound("automatic-speech-recognition"), return_timestamps="word")
    chunks = [{"text": each["text"], "start": each["timestamp"][0], "end": each["timestamp"][1]} for each in found["chunks"]]
    assert len(chunks) > 2
    return {"text": found["text"], "chunks": chunks}


def speak(folder: Path) -> dict[str, Any]:
    import numpy as np
    import torch

    request = golden("text-to-audio")
    opened = pipe("text-to-audio", folder)
    torch.manual_seed(request["seed"])
    found = opened(request["text"])
    samples, rate = found["audio"], found["sampling_rate"]
    assert samples.std() > 0.01
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, len(samples), "NONE", ""))
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    media = {"media_type": "audio/wav", "data": base64.b64encode(buffer.getvalue()).decode()}
    return {"audio": media, "sampling_rate": rate, "seconds": len(samples) / rate}


def match(folder: Path) -> dict[str, Any]:
    import numpy as np
    import soxr

    np.random.seed(0)  # the library chooses the second at random
    request = golden("zero-shot-audio-classification")
    samples = soxr.resample(sound("zero-shot-audio-classification"), RATE, 48_000)
    fields = {name: request[name] for name in ("candidate_labels", "hypothesis_template")}
    return {"labels": pipe("zero-shot-audio-classification", folder)(samples, **fields)}


NOT_AUDIO = (Bad("audio", {"audio": ...}), Bad("audio", {"audio": b"not audio"}))
CASES = (
    Case("audio-classification", save_sorter, sort, (*NOT_AUDIO, Bad("top_k", {"top_k": 0}))),
    Case(
        "automatic-speech-recognition",
        save_listener,
        listen,
        (
            *NOT_AUDIO,
            Bad("return_timestamps", {"return_timestamps": "segment"}),
            Bad("language", {"language": "German"}),
            Bad("translate", {"translate": True}),
        ),
    ),
    Case(
        "text-to-audio",
        save_speaker,
        speak,
        (
            Bad("text", {"text": ""}),
            Bad("text", {"text": "漢字"}),
            Bad("text", {"text": "a" * 2001}),
            Bad("speaker", {"speaker": 1}),
            Bad("seconds", {"seconds": 5}),
            Bad("seed", {"seed": -1}),
        ),
    ),
    Case(
        "zero-shot-audio-classification",
        save_matcher,
        match,
        (
            *NOT_AUDIO,
            Bad("candidate_labels", {"candidate_labels": []}),
            Bad("candidate_labels", {"candidate_labels": ["ship " * 80]}),
            Bad("hypothesis_template", {"hypothesis_template": "A sound of 7"}),
        ),
    ),
)

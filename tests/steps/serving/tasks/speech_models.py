"""Tiny models that turn speech into text, one of each kind that transformers' pipeline tells apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.steps.tasks.audio_cases import RATE, wav2vec2
from tests.tiny_models import VOCABULARY, save_tokenizer, small_bert

LAYERS = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}


def save_whisper(folder: Path, *, many_languages: bool = True, times: bool = True) -> None:
    """Its window is one second wide, where the real one's is thirty."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = {letter: index for index, letter in enumerate(bytes_to_unicode().values())}
    tasks = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    marks = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", *tasks]
    tokenizer = WhisperTokenizer(vocab=letters, merges=[])
    tokenizer.add_tokens([*marks, *(f"<|{number / 50:.2f}|>" for number in range(51))], special_tokens=True)
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in marks}
    sizes = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 8, "max_target_positions": 18}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    torch.manual_seed(7)
    ends = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    model = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=len(tokenizer), max_source_positions=50, **LAYERS, **sizes, **ends)
    )
    with torch.no_grad():
        model.model.decoder.embed_tokens.weight[list(ids.values())] *= 30  # language and task shall matter
    generation = model.generation_config
    generation.begin_suppress_tokens = None
    generation.suppress_tokens = [number for mark, number in ids.items() if mark != "<|endoftext|>"]
    generation._from_model_config = False  # or it is made anew when the model is loaded
    if times:
        generation.no_timestamps_token_id, generation.alignment_heads = ids["<|notimestamps|>"], [[0, 0], [1, 1]]
        generation.max_initial_timestamp_index = 50
    generation.is_multilingual = many_languages
    if many_languages:
        generation.lang_to_id = {mark: ids[mark] for mark in ("<|en|>", "<|de|>")}
        generation.task_to_id = {"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=1).save_pretrained(folder)


def save_moonshine(folder: Path) -> None:
    import torch
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration, Wav2Vec2FeatureExtractor

    torch.manual_seed(7)
    layers = {"encoder_num_hidden_layers": 1, "decoder_num_hidden_layers": 1}
    heads = {"encoder_num_attention_heads": 2, "decoder_num_attention_heads": 2}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2, "pad_token_id": 0}
    config = MoonshineConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, intermediate_size=32, max_position_embeddings=24, **layers, **heads, **ends
    )
    MoonshineForConditionalGeneration(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=False).save_pretrained(folder)
    save_tokenizer(folder)


def save_pair(folder: Path) -> None:
    """Two models in one: wav2vec2 hears, BERT writes."""
    import torch
    from transformers import SpeechEncoderDecoderConfig, SpeechEncoderDecoderModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(7)
    config = SpeechEncoderDecoderConfig.from_encoder_decoder_configs(wav2vec2(), small_bert(hidden_size=16))
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 2, 3, 0
    SpeechEncoderDecoderModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(folder)
    save_tokenizer(folder)


def save_parakeet(folder: Path, kind: str) -> None:
    """``ParakeetForCTC``, ``ParakeetForTDT`` or ``ParakeetForRNNT``."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import ParakeetEncoderConfig, ParakeetFeatureExtractor
    from transformers.models.parakeet.tokenization_parakeet import ParakeetTokenizer

    torch.manual_seed(4)
    pieces = ["<unk>", "<pad>", *(f"▁{letter}" for letter in "abc"), *"defgh", "<blank>"]
    tokenizer = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.add_special_tokens(["<blank>"])
    blank = "<pad>" if kind == "ParakeetForCTC" else "<blank>"
    ParakeetTokenizer(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>").save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = ParakeetEncoderConfig(**sizes, subsampling_conv_channels=8, num_mel_bins=8)
    ends: dict[str, Any] = {"pad_token_id": 1, "vocab_size": len(pieces)}
    if kind != "ParakeetForCTC":
        ends |= {"blank_token_id": pieces.index(blank), "decoder_hidden_size": 16, "num_decoder_layers": 1}
    config = getattr(transformers, kind.replace("For", "") + "Config")(encoder_config=encoder.to_dict(), **ends)
    model = getattr(transformers, kind)(config)
    model.generation_config._from_model_config = False
    model.generation_config.decoder_start_token_id = pieces.index(blank)
    model.generation_config.suppress_tokens = list(range(len(pieces), len(pieces) + 5))  # these logits are durations
    model.save_pretrained(folder)
    ParakeetFeatureExtractor(feature_size=8).save_pretrained(folder)

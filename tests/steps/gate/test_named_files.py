"""Settings that name files: those of the model and what training left behind pass, all else is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.gate.admit import admit_together, names_files
from steps.gate.named_files import LEFTOVERS

FILES = ("config.json", "tokenizer.json", "vocab.json", "spiece.model", "speaker_embeddings.json", "model.safetensors")


def check(name: str, settings: object, *files: str) -> None:
    admit_together([name, *(files or FILES)], {name: json.dumps(settings).encode()})


OUTSIDE = [
    "/etc/hostname",
    "../secret.txt",
    "a/../../b",
    "C:\\secret.txt",
    "file:///etc/passwd",
    "https://h/a",
    "someone/model",
]
HOSTILE: list[tuple[str, dict[str, Any]]] = [
    *(("special_tokens_map.json", {"vocab_file": value}) for value in OUTSIDE),
    *(("config.json", {"text_config": {"sub": [{"weights_path": value}]}}) for value in OUTSIDE),
    *(("processor_config.json", {"speaker_embeddings_dict_path": value}) for value in OUTSIDE),
    *(("tokenizer_config.json", {"sp_model_kwargs": {"model_file": value}}) for value in OUTSIDE),
    ("special_tokens_map.json", {"tokenizer_file": "/home/user/tokenizer.json"}),
    ("special_tokens_map.json", {"vocab": "/etc/hostname"}),
    ("special_tokens_map.json", {"anything": "/etc/hostname"}),
    ("special_tokens_map.json", {"anything": "~/.ssh/id_rsa"}),
    ("sub/special_tokens_map.json", {"merges_file": "../vocab.json"}),
    ("tokenizer_config.json", {"vocab_file": "/etc/hostname"}),
    ("tokenizer_config.json", {"tokenizer_file": "/etc/hostname"}),
    ("tokenizer_config.json", {"gguf_file": "/srv/model.gguf"}),
    ("tokenizer_config.json", {"Vocab_File": "/etc/hostname"}),
    ("tokenizer_config.json", {"vocab": "vocab.txt"}),
    ("tokenizer_config.json", {"merges": "../merges.txt"}),
    ("tokenizer_config.json", {"init_inputs": ["/etc/hostname"]}),
    ("tokenizer_config.json", {"mecab_kwargs": {"mecab_option": "-r /etc/hostname"}}),
    ("tokenizer_config.json", {"sudachi_kwargs": {"sudachi_config_path": "/etc/hostname"}}),
    ("tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer.4/../../x.json"]}),
    ("config.json", {"configuration_files": ["config.4.0.0/../../../x.json"]}),
    ("config.json", {"backbone": "someone/backbone", "backbone_config": None}),
    ("config.json", {"backbone": "local-dir:/srv"}),
    ("config.json", {"architecture": "hf-hub:someone/model"}),
    ("config.4.49.0.json", {"index_path": "/srv/index"}),
    ("generation_config.json", {"embedding_file": "/etc/hostname"}),
    ("preprocessor_config.json", {"repo_path": "someone/data", "class_info_file": "classes.json"}),
    ("video_preprocessor_config.json", {"font_path": "/usr/share/fonts/a.ttf"}),
    ("audio_tokenizer_config.json", {"audio_tokenizer_name_or_path": "someone/codec"}),
    ("processor_config.json", {"audio_tokenizer": {"audio_tokenizer_name_or_path": "/srv/codec"}}),
    ("speaker_embeddings_path.json", {"repo_or_path": "x", "v2/en": {"semantic_prompt_path": "../x.npy"}}),
    ("chat_template.json", {"template_path": "/etc/hostname"}),
    ("decision_config.json", {"template_file": "/etc/hostname"}),
]


@pytest.mark.fault("refused")
@pytest.mark.parametrize(("name", "settings"), HOSTILE)
def test_paths_that_leave_the_model_are_refused(name: str, settings: dict[str, Any]) -> None:
    assert names_files(name)
    with pytest.raises(SlipwayError) as caught:
        check(name, settings)
    assert caught.value.reason is Reason.UNSAFE_PATH
    assert caught.value.message.startswith(f"{name}: ")


CACHE = "/root/.cache/huggingface/transformers/" + "16a2f78023c8dc511294f0c97b5e10fde3ef9889ad6d11ffaa2a00714e73926e"
ORDINARY: list[tuple[str, dict[str, Any]]] = [
    ("config.json", {"_name_or_path": "/home/user/checkpoint-500", "vision_config": {"_name_or_path": "openai/clip"}}),
    ("config.json", {"name_or_path": "../output", "output_dir": "/mnt/data", "cache_dir": None}),
    ("config.json", {"mm_vision_tower": "openai/clip-vit-large-patch14-336", "pretrain_mm_mlp_adapter": "/mnt/a/mm.bin"}),
    ("config.json", {"backbone": "resnet50", "use_timm_backbone": True, "use_mem_eff_path": True}),
    ("config.json", {"backbone": "facebook/dinov2-base", "backbone_config": {"model_type": "dinov2"}}),
    ("config.json", {"id2label": {"0": "/r/science", "1": "C:\\", "2": "a/../b"}, "torch_dtype": "float32"}),
    ("config.json", {"quantization_config": {"tokenizer": None, "dataset": "c4", "modules_in_block_to_quantize": []}}),
    ("tokenizer_config.json", {"tokenizer_file": None, "vocab_file": None, "special_tokens_map_file": f"{CACHE}.{'0' * 64}"}),
    ("tokenizer_config.json", {"tokenizer_file": f"{CACHE}.{'a1' * 32}", "name_or_path": "bert-base-uncased"}),
    ("tokenizer_config.json", {"tokenizer_file": "/home/user/model/tokenizer.json", "init_inputs": []}),
    ("tokenizer_config.json", {"tokenizer_file": "C:\\Users\\me\\tokenizer.json", "full_tokenizer_file": None}),
    ("tokenizer_config.json", {"vocab_file": "/content/model/vocab.json", "merges_file": "./merges.txt"}),
    ("tokenizer_config.json", {"vocab_file": "vocab.json", "tokenizer_class": "Wav2Vec2CTCTokenizer"}),
    ("tokenizer_config.json", {"eos_token": "/s/", "extra_special_tokens": ["/a/b"], "chat_template": "{{ '/a/b' }}"}),
    ("tokenizer_config.json", {"added_tokens_decoder": {"5": {"content": "../x/", "special": True}}, "sp_model_kwargs": {}}),
    ("tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer.4.0.0.json"], "do_lower_case": True}),
    ("special_tokens_map.json", {"unk_token": "/unk/x", "additional_special_tokens": ["<s>", "/a/b"]}),
    ("processor_config.json", {"speaker_embeddings_dict_path": "speaker_embeddings.json", "processor_class": "BarkProcessor"}),
    ("adapter_config.json", {"base_model_name_or_path": "meta-llama/Llama-3.1-8B", "peft_type": "LORA"}),
    ("preprocessor_config.json", {"class_info_file": "", "feature_extractor_type": "ViTFeatureExtractor"}),
    *(("config.json", {key: "/home/user/x"}) for key in sorted(LEFTOVERS)),
]


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(("name", "settings"), ORDINARY)
def test_what_training_left_behind_stops_nothing(name: str, settings: dict[str, Any]) -> None:
    check(name, settings)


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("name", ["vocab.json", "added_tokens.json", "tokenizer.json", "training_config.json", "modules.json"])
def test_other_json_files_may_hold_any_word(name: str) -> None:
    assert not names_files(name)
    check(name, {"vocab_file": 7, "data_path": "/etc/hostname", "path": "1_Pooling"})


@pytest.mark.fault("refused")
def test_a_leftover_that_is_opened_is_refused() -> None:
    settings = {"vocab_file": "/content/model/vocab.json"}
    check("tokenizer_config.json", settings, "vocab.json")
    with pytest.raises(SlipwayError, match=r"tokenizer_config\.json: vocab_file names a file that is not in the model"):
        check("tokenizer_config.json", settings, "config.json")

"""image-to-text: the architectures beside that of the task's case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.serving.tasks import image_to_text
from tests.steps.tasks.image_cases import picture
from tests.steps.tasks.multimodal_cases import ENDS, SIZES, WILD, save_blip, seed
from tests.tiny_models import VOCABULARY, save_tokenizer

pytestmark = pytest.mark.slow

PICTURE = (GOLDEN_FILES / "golden/picture.png").read_bytes()


def save_git(folder: Path) -> Any:
    from transformers import CLIPImageProcessorPil, GitConfig, GitForCausalLM

    seed()
    sight = {"image_size": 16, "patch_size": 8, **SIZES}
    config = GitConfig(
        vision_config=sight,
        vocab_size=len(VOCABULARY),
        max_position_embeddings=32,
        **SIZES,
        **ENDS,
        **WILD,
    )
    GitForCausalLM(config).save_pretrained(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    return processor


def save_blip2(folder: Path) -> Any:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, BlipImageProcessorPil, OPTConfig

    seed()
    asking = {"vocab_size": len(VOCABULARY), "encoder_hidden_size": 32, "cross_attention_frequency": 1, **SIZES}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 32}
    writing = OPTConfig(vocab_size=len(VOCABULARY), max_position_embeddings=64, init_std=1.0, **layers, **ENDS)
    config = Blip2Config(
        vision_config={"image_size": 16, "patch_size": 8, **SIZES},
        qformer_config=asking,
        text_config=writing.to_dict(),
        num_query_tokens=4,
        image_token_index=VOCABULARY.index("[MASK]"),
    )
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    processor = BlipImageProcessorPil(size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    return processor


def save_pix2struct(folder: Path) -> Any:
    from transformers import Pix2StructConfig, Pix2StructForConditionalGeneration, Pix2StructImageProcessorPil

    seed()
    common = {"hidden_size": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "initializer_factor": 5.0}
    words = {**common, "vocab_size": len(VOCABULARY), "decoder_start_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    sight = {**common, "patch_embed_hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 2, "seq_len": 64}
    config = Pix2StructConfig(text_config=words, vision_config=sight)
    Pix2StructForConditionalGeneration(config).save_pretrained(folder)
    processor = Pix2StructImageProcessorPil(max_patches=16)
    processor.save_pretrained(folder)
    return processor


@pytest.mark.parametrize("save", [save_blip, save_git, save_blip2, save_pix2struct], ids=lambda save: save.__name__)
def test_each_family_captions_as_the_library_does(save: Callable[[Path], Any], tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    processor = save(tmp_path)
    save_tokenizer(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    inputs = processor(picture("image-to-text"), return_tensors="pt")
    written = model.generate(**inputs, do_sample=False, max_new_tokens=8)
    said = AutoTokenizer.from_pretrained(tmp_path).decode(written[0], skip_special_tokens=True).strip()
    runner = image_to_text.Runner(tmp_path)
    assert runner.predict(image_to_text.Request(image=PICTURE, max_new_tokens=8)).text == said != ""
    assert runner.predict(image_to_text.Request(image=PICTURE, max_new_tokens=60)).text  # no further than the model can

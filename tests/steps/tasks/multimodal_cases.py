"""Cases of the tasks with several kinds of input, and of ``decision``."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steps.tasks.multimodal import DOCUMENT
from tests.steps.tasks.cases import Bad, Case, golden
from tests.steps.tasks.image_cases import picture
from tests.steps.tasks.text_cases import pipe
from tests.tiny_models import MAX_LENGTH, VOCABULARY, save_tokenizer

WORDS = "what does this picture show a ship is in the harbour of and crane busy red blue two people water cold ? : user model"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
# Large, so that what a model writes by chance is not one word over and over.
WILD = {"initializer_range": 1.0}
ENDS = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
CHAT = (
    "{% for message in messages %}user : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE {% elif part['type'] == 'audio' %}AUDIO {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %} </s>{% endfor %}{% if add_generation_prompt %} model : {% endif %}"
)


def seed(number: int = 7) -> None:
    import torch

    torch.manual_seed(number)


def word_tokenizer(words: Iterable[str], marks: Mapping[str, str] | None = None, **settings: Any) -> Any:
    """A tokenizer of whole words. ``marks`` are the model's own tokens, by the names that its processor has for them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["<pad>", "<unk>", "<s>", "</s>", *(marks or {}).values(), *words]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase() if "A" not in vocabulary else normalizers.Sequence([])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        **({"extra_special_tokens": dict(marks)} if marks else {}),
        **settings,
    )


def small_llama(vocabulary: int) -> Any:
    from transformers import LlamaConfig

    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    return LlamaConfig(vocab_size=vocabulary, max_position_embeddings=512, tie_word_embeddings=False, **SIZES, **ends, **WILD)


def save_llava(folder: Path) -> None:
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    seed()
    tokenizer = word_tokenizer(WORDS.split(), {"image_token": "<image>"})
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>"),
    ).save_pretrained(folder)
    sight = CLIPVisionConfig(image_size=28, patch_size=14, projection_dim=16, **SIZES, **WILD)
    config = LlavaConfig(
        text_config=small_llama(len(tokenizer)), vision_config=sight, image_token_index=tokenizer.image_token_id
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)


def save_gemma(folder: Path) -> None:
    """Save a Gemma 4 for images and audio. Its video processor cannot be made here, so the processor's files are written."""
    from transformers import (
        Gemma4AudioFeatureExtractor,
        Gemma4Config,
        Gemma4ForConditionalGeneration,
        Gemma4ImageProcessorPil,
    )

    seed(9)  # its text depends on the image and the audio
    kinds = ("boi", "image", "eoi", "boa", "audio", "eoa")
    texts = ("<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>")
    marks = {f"{kind}_token": text for kind, text in zip(kinds, texts, strict=True)} | {"video_token": "<|video|>"}
    tokenizer = word_tokenizer(WORDS.split(), marks)
    tokenizer.chat_template = CHAT.replace("IMAGE", "<|image|>").replace("AUDIO", "<|audio|>")
    tokenizer.save_pretrained(folder)
    parts = {
        "image_processor": Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70, pooling_kernel_size=3),
        "feature_extractor": Gemma4AudioFeatureExtractor(feature_size=16),
    }
    settings = {name: json.loads(part.to_json_string()) for name, part in parts.items()}
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Gemma4Processor", **settings}))
    heads = {"num_attention_heads": 2, "hidden_size": 32}
    tokens = {f"{name}_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()}
    tokens["eoa_token_index"] = tokens.pop("eoa_token_id")
    layers = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "intermediate_size": 64}
    words = heads | layers | {"num_key_value_heads": 1, "head_dim": 16, "global_head_dim": 16, "max_position_embeddings": 512}
    words |= {"vocab_size": len(tokenizer), "vocab_size_per_layer_input": len(tokenizer), "hidden_size_per_layer_input": 8}
    words |= {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0, "initializer_range": 0.05}
    sight = heads | {"num_hidden_layers": 1, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 64}
    sight |= {"patch_size": 4, "position_embedding_size": 256}
    audio_config = heads | {"num_hidden_layers": 1, "subsampling_conv_channels": [16, 4], "output_proj_dims": 32}
    config = Gemma4Config(text_config=words, vision_config=sight, audio_config=audio_config, **tokens)
    Gemma4ForConditionalGeneration(config).save_pretrained(folder)


def save_captioner(folder: Path) -> None:
    from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig, ViTImageProcessorPil

    from tests.tiny_models import small_bert

    seed()
    words = small_bert(is_decoder=True, add_cross_attention=True, **WILD)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(image_size=16, patch_size=4, **SIZES), words)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 2, 0, 3
    VisionEncoderDecoderModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    save_tokenizer(folder)


def blip_config() -> Any:
    from transformers import BlipConfig

    words = {"vocab_size": len(VOCABULARY), "encoder_hidden_size": 32, "max_position_embeddings": 32, **SIZES, **ENDS, **WILD}
    return BlipConfig(text_config=words, vision_config={"image_size": 16, "patch_size": 8, **SIZES}, projection_dim=16)


def save_blip(folder: Path, kind: str = "BlipForConditionalGeneration") -> Any:
    """A BLIP of this class with its image processor, without a tokenizer; the processor."""
    import transformers

    seed()
    getattr(transformers, kind)(blip_config()).save_pretrained(folder)
    processor = transformers.BlipImageProcessorPil(size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    return processor


def save_vilt(folder: Path) -> None:
    from transformers import ViltConfig, ViltForQuestionAnswering, ViltImageProcessorPil

    seed()
    answers = dict(enumerate(["ship", "crane", "water", "two", "red", "no"]))
    config = ViltConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=40, image_size=32, patch_size=16, id2label=answers, **SIZES, **WILD
    )
    ViltForQuestionAnswering(config).save_pretrained(folder)
    ViltImageProcessorPil(size={"shortest_edge": 32}, size_divisor=16).save_pretrained(folder)
    save_tokenizer(folder)


def save_layoutlm(folder: Path) -> None:
    from transformers import LayoutLMConfig, LayoutLMForQuestionAnswering

    seed()
    config = LayoutLMConfig(vocab_size=len(VOCABULARY), max_position_embeddings=MAX_LENGTH, **SIZES, **WILD)
    LayoutLMForQuestionAnswering(config).save_pretrained(folder)
    save_tokenizer(folder)


def save_decider(folder: Path) -> None:
    """Any model that chats decides, by its next token: a letter, or Yes or No."""
    from transformers import LlamaForCausalLM

    seed()
    tokenizer = word_tokenizer(
        ["Yes", "No", "?", ".", ":", "user", "model", "busy", "crane", "refund", *string.ascii_uppercase]
    )
    tokenizer.chat_template = (
        "{% for message in messages %}user : {{ message['content'] }} </s>{% endfor %}"
        "{% if add_generation_prompt %} model : {% endif %}"
    )
    tokenizer.save_pretrained(folder)
    LlamaForCausalLM(small_llama(len(tokenizer))).save_pretrained(folder)


def converse(folder: Path) -> dict[str, Any]:
    request = golden("image-text-to-text")
    parts = [{"type": "image", "image": picture("image-text-to-text")}, {"type": "text", "text": request["prompt"]}]
    [result] = pipe("image-text-to-text", folder)(
        text=[{"role": "user", "content": parts}],
        return_full_text=False,
        generate_kwargs={"do_sample": False, "max_new_tokens": request["max_new_tokens"]},
    )
    return {"text": result["generated_text"]}


def converse_by_hand(folder: Path, media: Mapping[str, Any], prompt: str, max_new_tokens: int) -> str:
    """What the library's parts make of a chat with Gemma, its prompt written out."""
    import torch
    from transformers import AutoTokenizer, Gemma4AudioFeatureExtractor, Gemma4ForConditionalGeneration, Gemma4ImageProcessorPil

    settings = json.loads((folder / "processor_config.json").read_text())
    inputs: dict[str, Any] = {}
    text = "user : "
    if "image" in media:
        seen = Gemma4ImageProcessorPil(**settings["image_processor"])(media["image"], return_tensors="pt")
        [marks] = seen.pop("num_soft_tokens_per_image")
        text += f"<|image>{'<|image|>' * int(marks)}<image|> "
        inputs |= seen
    if "audio" in media:
        audio_inputs = Gemma4AudioFeatureExtractor(**settings["feature_extractor"])([media["audio"]], return_tensors="pt")
        frames = int(audio_inputs["input_features_mask"][0, ::2][::2].sum())
        text += f"<|audio>{'<|audio|>' * frames}<audio|> "
        inputs |= audio_inputs
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = tokenizer(f"{text}{prompt} </s> model : ", return_tensors="pt")
    kinds = {tokenizer.image_token_id: 1, tokenizer.audio_token_id: 3}
    types = torch.tensor([[kinds.get(int(token), 0) for token in words["input_ids"][0]]])
    model = Gemma4ForConditionalGeneration.from_pretrained(folder).eval()
    written = model.generate(**words, **inputs, mm_token_type_ids=types, do_sample=False, max_new_tokens=max_new_tokens)
    before, after = (tokenizer.decode(tokens, skip_special_tokens=True) for tokens in (words["input_ids"][0], written[0]))
    assert after.startswith(before)
    return str(after[len(before) :])


def converse_anyhow(folder: Path) -> dict[str, Any]:
    request = golden("any-to-any")
    result = converse_by_hand(folder, {"image": picture("any-to-any")}, request["prompt"], request["max_new_tokens"])
    return {"text": result}


def caption(folder: Path) -> dict[str, Any]:
    from transformers import AutoTokenizer, VisionEncoderDecoderModel, ViTImageProcessorPil

    request = golden("image-to-text")
    pixels = ViTImageProcessorPil.from_pretrained(folder)(picture("image-to-text"), return_tensors="pt").pixel_values
    model = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    written = model.generate(pixels, do_sample=False, max_new_tokens=request["max_new_tokens"])
    return {"text": AutoTokenizer.from_pretrained(folder).decode(written[0], skip_special_tokens=True)}


def ask_about_picture(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import AutoTokenizer, ViltForQuestionAnswering, ViltImageProcessorPil, ViltProcessor

    request = golden("visual-question-answering")
    processor = ViltProcessor(ViltImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    model = ViltForQuestionAnswering.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(**processor(picture("visual-question-answering"), request["question"], return_tensors="pt")).logits
    scores = zip(model.config.id2label.values(), logits.sigmoid()[0].tolist(), strict=True)
    best = sorted(scores, key=lambda entry: -entry[1])[: request["top_k"]]
    return {"answers": [{"answer": answer, "score": score} for answer, score in best]}


def ask_about_page(folder: Path) -> dict[str, Any]:
    found = pipe("document-question-answering", folder)(
        image=picture("document-question-answering"),
        question=golden("document-question-answering")["question"],
        word_boxes=[(text, list(box)) for text, box in DOCUMENT],
        top_k=3,
    )
    return {"answers": found}


def decide(folder: Path) -> dict[str, Any]:
    request = golden("decision")
    questions = {question["name"]: {**question} for question in request["questions"]}
    for question in questions.values():
        del question["name"]
    found = pipe("decision", folder)({"state": request["state"], "questions": questions})
    yes, tone, urgency = found["refund"]["noul"], found["tone"], found["urgency"]
    refund = {"decision": "true" if yes > 0.5 else "false", "confidence": abs(yes - (1 - yes)), "score": None}
    levels = urgency["probabilities"]
    likeliest = {"decision": max(levels, key=levels.get), "confidence": urgency["confidence"], "score": urgency["score"]}
    chosen = {"decision": tone["choice"], "confidence": tone["confidence"], "score": None}
    return {
        "answers": [
            {"name": "refund", "type": "noul", **refund, "probabilities": listed({"true": yes, "false": 1 - yes})},
            {"name": "tone", "type": "choice", **chosen, "probabilities": listed(tone["probabilities"])},
            {"name": "urgency", "type": "score", **likeliest, "probabilities": listed(levels)},
        ]
    }


def listed(chances: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"option": option, "probability": chance} for option, chance in chances.items()]


NOT_AN_IMAGE = Bad("image", {"image": b"not an image"})
CASES = (
    Case(
        "image-text-to-text",
        save_llava,
        converse,
        (
            NOT_AN_IMAGE,
            Bad("image", {"image": ...}),
            Bad("prompt", {"prompt": "what " * 600}),
            Bad("temperature", {"temperature": 3}),
            Bad("max_new_tokens", {"max_new_tokens": 0}),
        ),
    ),
    Case("image-to-text", save_captioner, caption, (NOT_AN_IMAGE, Bad("max_new_tokens", {"max_new_tokens": 5000}))),
    Case(
        "visual-question-answering",
        save_vilt,
        ask_about_picture,
        (NOT_AN_IMAGE, Bad("question", {"question": "what " * 60}), Bad("question", {"question": ""})),
    ),
    Case(
        "document-question-answering",
        save_layoutlm,
        ask_about_page,
        (
            NOT_AN_IMAGE,
            Bad("words", {"words": ...}),
            Bad("words", {"words": [{"text": "Total", "box": [20, 10, 10, 20]}]}),
            Bad("words", {"words": [{"text": "Total", "box": [0, 0, 1001, 20]}]}),
            Bad("words", {"words": "Total"}),
            Bad("question", {"question": "what " * 60}),
        ),
    ),
    Case(
        "any-to-any",
        save_gemma,
        converse_anyhow,
        (NOT_AN_IMAGE, Bad("audio", {"audio": b"no sound"}), Bad("prompt", {"prompt": ...}), Bad("seed", {"seed": -1})),
    ),
    Case(
        "decision",
        save_decider,
        decide,
        (
            Bad("state", {"state": "busy " * 600}),
            Bad("state", {"state": ...}),
            Bad("questions", {"questions": []}),
            Bad("questions", {"questions": [{"name": "tone", "type": "choice", "instructions": "Which?", "criteria": {}}]}),
            Bad("questions", {"questions": [{"name": "tone", "type": "guess", "instructions": "Which?"}]}),
        ),
    ),
)

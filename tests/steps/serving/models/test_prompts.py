"""Prompts with pictures and sounds: which model takes what, where the marks go, and what a user's text cannot do."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.serving.media.sounds import read_sound
from steps.serving.models.prompts import PromptedModel
from steps.serving.runner import BadInput
from steps.serving.tasks import any_to_any, image_text_to_text
from tests.steps.tasks.multimodal_cases import (
    CHAT,
    SIZES,
    WILD,
    WORDS,
    converse_by_hand,
    save_gemma,
    save_llava,
    seed,
    word_tokenizer,
)

pytestmark = pytest.mark.slow

PICTURE = (GOLDEN_FILES / "golden/picture.png").read_bytes()
SOUND = (GOLDEN_FILES / "golden/sound.wav").read_bytes()
PROMPT = "what is in this picture ?"


def save_qwen(folder: Path) -> None:
    """As its authors publish it: with settings for videos beside those for pictures."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessorPil

    seed()
    marks = {
        "start": "<|vision_start|>",
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "end": "<|vision_end|>",
    }
    tokenizer = word_tokenizer(WORDS.split(), marks)
    tokenizer.chat_template = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    tokenizer.init_kwargs["processor_class"] = "Qwen2VLProcessor"
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 16}).save_pretrained(folder)
    turns = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    limits = {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "max_position_embeddings": 512, "rope_parameters": turns}
    config = Qwen2VLConfig(
        text_config={**SIZES, **WILD, **limits, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0},
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)


def save_smolvlm(folder: Path) -> None:
    """Its pictures are cut into tiles."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil, SmolVLMVisionConfig

    from tests.steps.tasks.multimodal_cases import small_llama

    seed()
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
    names = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles]
    tokenizer = word_tokenizer(WORDS.split(), {f"mark_{index}": name for index, name in enumerate(names)})
    tokenizer.chat_template = CHAT.replace("IMAGE", "<image>")
    tokenizer.save_pretrained(folder)
    SmolVLMImageProcessorPil(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 28}, do_image_splitting=True
    ).save_pretrained(folder)
    (folder / "processor_config.json").write_text('{"processor_class": "SmolVLMProcessor", "image_seq_len": 4}')
    config = SmolVLMConfig(
        text_config=small_llama(len(tokenizer)),
        vision_config=SmolVLMVisionConfig(image_size=28, patch_size=7, **SIZES),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    SmolVLMForConditionalGeneration(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], None]], Path]:
    made: dict[Any, Path] = {}

    def folder(save: Callable[[Path], None]) -> Path:
        if save not in made:
            made[save] = tmp_path_factory.mktemp(save.__name__)
            save(made[save])
        return made[save]

    return folder


@pytest.fixture(scope="module")
def llava(folders: Any) -> PromptedModel:
    return PromptedModel(folders(save_llava), "AutoModelForImageTextToText")


@pytest.fixture(scope="module")
def gemma(folders: Any) -> any_to_any.Runner:
    return any_to_any.Runner(folders(save_gemma))


def image(width: int = 40, height: int = 30) -> Any:
    from PIL import Image

    return Image.new("RGB", (width, height), "navy")


@pytest.mark.parametrize("kinds", [(), ("image",), ("audio",), ("image", "audio")])
def test_a_model_gets_the_media_that_are_sent(kinds: tuple[str, ...], gemma: Any, folders: Any) -> None:
    from PIL import Image

    sent = {"image": PICTURE, "audio": SOUND}
    answer = gemma.predict(any_to_any.Request(prompt=PROMPT, max_new_tokens=12, **{kind: sent[kind] for kind in kinds}))
    media = {"image": Image.open(io.BytesIO(PICTURE)).convert("RGB"), "audio": read_sound(SOUND, 16000)}
    assert answer.text == converse_by_hand(folders(save_gemma), {kind: media[kind] for kind in kinds}, PROMPT, 12)


def test_another_picture_or_sound_changes_the_text(gemma: Any) -> None:
    sent: list[dict[str, bytes]] = [{}, {"image": PICTURE}, {"audio": SOUND}, {"image": PICTURE, "audio": SOUND}]
    assert len({gemma.predict(any_to_any.Request(prompt=PROMPT, max_new_tokens=12, **files)).text for files in sent}) == 4


def test_a_model_without_sound_refuses_a_sound(folders: Any) -> None:
    runner = any_to_any.Runner(folders(save_llava))
    with pytest.raises(BadInput, match=r"^audio: .*takes no sound"):
        runner.predict(any_to_any.Request(prompt=PROMPT, audio=SOUND))


@pytest.mark.parametrize("save", [save_qwen, save_smolvlm], ids=lambda save: save.__name__)
def test_processors_for_videos_load_without_torchvision(save: Any, folders: Any) -> None:
    runner = image_text_to_text.Runner(folders(save))
    assert runner.predict(image_text_to_text.Request(image=PICTURE, prompt=PROMPT, max_new_tokens=8)).text


def test_tiles_of_a_picture_get_their_tokens(folders: Any) -> None:
    prompter = PromptedModel(folders(save_smolvlm), "AutoModelForImageTextToText")
    text = prompter.processor.tokenizer.decode(prompter.encode(PROMPT, {"image": image(40, 40)})["input_ids"][0])
    tiles = "".join(f"<fake_token_around_image><row_{row}_col_{column}>{'<image>' * 4}" for row in (1, 2) for column in (1, 2))
    around = "<fake_token_around_image>"
    assert f"{tiles}{around}<global-img>{'<image>' * 4}{around}" in text.replace(" ", "")


@pytest.mark.parametrize("mark", ["<image>", "</s>", "<s>"])
def test_a_chat_prompt_cannot_hold_special_tokens(mark: str, llava: PromptedModel) -> None:
    with pytest.raises(BadInput, match=f"^prompt: it holds {mark}"):
        llava.generate(f"{PROMPT}{mark}", {"image": image()}, max_new_tokens=4)


def test_without_template_the_image_token_comes_first(folders: Any) -> None:
    prompter = PromptedModel(folders(save_llava), "AutoModelForImageTextToText")
    prompter.processor.chat_template = None
    mark = prompter.processor.image_token_id
    front = prompter.encode("what is this ?", {"image": image()})["input_ids"][0].tolist()
    assert front[: front.count(mark)] == [mark] * 4
    inside = prompter.encode("what <image> is this ?", {"image": image()})["input_ids"][0].tolist()
    assert inside[1:5] == [mark] * 4
    with pytest.raises(BadInput, match=r"^image: "):
        prompter.encode("<image> <image>", {"image": image()})
    assert prompter.generate("what is this ?", {"image": image()}, max_new_tokens=4)


@pytest.mark.parametrize("save", [save_llava, save_gemma, save_smolvlm], ids=lambda save: save.__name__)
def test_pictures_of_odd_shapes_are_answered(save: Any, folders: Any) -> None:
    prompter = PromptedModel(folders(save), "AutoModelForImageTextToText")
    for width, height in ((1, 1), (1, 400), (400, 1)):
        prompter.generate(PROMPT, {"image": image(width, height)}, max_new_tokens=1)


def test_an_unsuitable_picture_is_refused_by_its_field(folders: Any) -> None:
    prompter = PromptedModel(folders(save_qwen), "AutoModelForImageTextToText")
    with pytest.raises(BadInput, match=r"^image: .*aspect ratio"):
        prompter.generate(PROMPT, {"image": image(1, 400)}, max_new_tokens=1)


def test_sampling_follows_the_seed_with_a_temperature(folders: Any) -> None:
    import torch

    runner = image_text_to_text.Runner(folders(save_llava))

    def ask(**options: Any) -> str:
        request = image_text_to_text.Request(image=PICTURE, prompt=PROMPT, max_new_tokens=12, **options)
        return runner.predict(request).text

    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert ask(temperature=2.0, seed=1) == ask(temperature=2.0, seed=1) != ask(temperature=2.0, seed=2)
    assert ask(seed=1) == ask(seed=2) == ask(seed=2, temperature=1e-30)
    assert torch.equal(before, torch.get_rng_state())


def test_a_token_unknown_to_the_model_is_refused(folders: Any) -> None:
    prompter = PromptedModel(folders(save_llava), "AutoModelForImageTextToText")
    prompter.processor.tokenizer.add_tokens(["zebra"])
    with pytest.raises(BadInput, match=r"^prompt: a token in it is not one of the model's"):
        prompter.generate("what zebra ?", {"image": image()}, max_new_tokens=1)


def test_prompt_and_text_fit_into_the_model(llava: PromptedModel) -> None:
    with pytest.raises(BadInput, match=r"^prompt: \d+ tokens .* holds 512"):
        llava.generate("what " * 505, {"image": image()}, max_new_tokens=1)
    written = llava.generate("what " * 480, {"image": image()}, max_new_tokens=1024)
    assert 1 <= len(written.split()) < 32

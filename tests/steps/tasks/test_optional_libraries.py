"""A model that needs an optional library which its service does not have is refused by its ``config.json``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.fetch import check_survey
from steps.sources.base import Survey
from steps.sources.choose import Choice, SourceFile
from steps.tasks import families
from steps.tasks.base import TOKENIZER_FILES
from steps.tasks.optional_libraries import missing_libraries, missing_libraries_of_component, nested_model_types
from steps.tasks.table import AUTO, TASKS, check_task, tasks_for_auto

IMAGE_FILES = frozenset({"config.json", "preprocessor_config.json"})
TEXT_FILES = frozenset({"config.json", "tokenizer.json", "tokenizer_config.json"})
BOTH = IMAGE_FILES | TEXT_FILES


def model(architecture: str, model_type: str, **settings: Any) -> dict[str, Any]:
    return {"architectures": [architecture], "model_type": model_type, **settings}


TIMM = {"model_type": "timm_backbone", "backbone": "resnet50"}
OWN = {"model_type": "resnet"}
DETR = ("DetrForObjectDetection", "detr")
TIMM_MISSING = "its backbone TimmBackbone needs timm"


def survey(config: dict[str, Any], **texts: str) -> Survey:
    """What fetch knows of a model for texts before its weights move, with the files' contents."""
    contents = {"config.json": json.dumps(config), **{name.replace("__", "."): text for name, text in texts.items()}}
    files = [SourceFile(name, len(text), "git", name) for name, text in {**contents, "tokenizer.json": "{}"}.items()]
    choice = Choice(taken=tuple((file, "text") for file in files), left=())
    return Survey("", choice, {name: text.encode() for name, text in contents.items()})


@pytest.mark.parametrize(
    ("task", "config", "files", "why"),
    [
        ("mask-generation", model("Sam2Model", "sam2"), IMAGE_FILES, "image processor Sam2ImageProcessor needs torchvision"),
        (
            "depth-estimation",
            model("DepthProForDepthEstimation", "depth_pro"),
            IMAGE_FILES,
            "image processor DepthProImageProcessor needs torchvision",
        ),
        (
            "object-detection",
            model("RfDetrForObjectDetection", "rf_detr"),
            IMAGE_FILES,
            "image processor RfDetrImageProcessor needs torchvision",
        ),
        (
            "image-text-to-text",
            model("Mistral3ForConditionalGeneration", "mistral3"),
            BOTH,
            "processor PixtralProcessor needs torchvision",
        ),
        (
            "automatic-speech-recognition",
            model("GraniteSpeech5ForCTC", "granite_speech5_ctc"),
            BOTH,
            "feature extractor GraniteSpeech5FeatureExtractor needs torchaudio",
        ),
        (
            "image-classification",
            model("DinatForImageClassification", "dinat"),
            IMAGE_FILES,
            "its class DinatForImageClassification needs natten",
        ),
        ("image-feature-extraction", model("DinatModel", "dinat"), IMAGE_FILES, "its class DinatModel needs natten"),
        (
            "image-classification",
            model("TimmWrapperForImageClassification", "timm_wrapper"),
            IMAGE_FILES,
            "TimmWrapperImageProcessor needs timm and torchvision",
        ),
        ("object-detection", model(*DETR), IMAGE_FILES, TIMM_MISSING),
        ("object-detection", model(*DETR, use_timm_backbone=True, backbone="resnet50"), IMAGE_FILES, TIMM_MISSING),
        (
            "object-detection",
            model(*DETR, use_timm_backbone=False, backbone_config=TIMM),
            IMAGE_FILES,
            "its class TimmBackbone",
        ),
        (
            "image-text-to-text",
            model("Gemma3nForConditionalGeneration", "gemma3n", vision_config={"model_type": "gemma3n_vision"}),
            BOTH,
            "its class TimmWrapperModel needs timm",
        ),
        (
            "text-classification",
            model("RoFormerForSequenceClassification", "roformer"),
            TEXT_FILES,
            "tokenizer RoFormerTokenizer needs rjieba",
        ),
    ],
    ids=lambda value: value["architectures"][0] if isinstance(value, dict) else "",
)
def test_a_missing_library_is_named(task: str, config: dict[str, Any], files: frozenset[str], why: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        check_task(TASKS[task], config, files)
    assert caught.value.reason is Reason.TASK_MISMATCH
    assert why in caught.value.message
    assert caught.value.message.endswith(", which the services of this task do not have.")
    assert task not in [each.name for each in tasks_for_auto(config, files)]


@pytest.mark.parametrize(
    ("task", "config", "files"),
    [
        ("mask-generation", model("SamModel", "sam"), IMAGE_FILES),
        ("object-detection", model(*DETR, backbone_config=OWN), IMAGE_FILES),
        ("object-detection", model(*DETR, use_timm_backbone=False, backbone_config=OWN), IMAGE_FILES),
        ("object-detection", model("YolosForObjectDetection", "yolos"), IMAGE_FILES),
        ("image-segmentation", model("Mask2FormerForUniversalSegmentation", "mask2former"), IMAGE_FILES),
        ("zero-shot-image-classification", model("SiglipModel", "siglip"), BOTH),
        ("table-question-answering", model("TapasForQuestionAnswering", "tapas"), TEXT_FILES),
        ("translation", model("MarianMTModel", "marian"), frozenset({"source.spm", "vocab.json"})),
        ("translation", model("FSMTForConditionalGeneration", "fsmt"), TEXT_FILES | {"vocab.json"}),
        ("image-text-to-text", model("LlavaForConditionalGeneration", "llava"), BOTH),
    ],
    ids=lambda value: value["architectures"][0] if isinstance(value, dict) else "",
)
def test_a_familys_packages_are_enough(task: str, config: dict[str, Any], files: frozenset[str]) -> None:
    check_task(TASKS[task], config, files)


@pytest.mark.parametrize("name", ["Sam2ImageProcessor", "DINOv3ViTImageProcessor", "PixtralProcessor", "TimmBackbone"])
def test_a_class_needs_what_no_family_has(name: str) -> None:
    assert missing_libraries(name, families.packages("multimodal"))


def test_each_family_has_its_own_packages() -> None:
    assert missing_libraries_of_component("tokenizer", "tapas", families.packages("text")) == "TapasTokenizer needs pandas"
    assert missing_libraries_of_component("tokenizer", "tapas", families.packages("table")) == ""


@pytest.mark.parametrize("odd", [None, 7, [], ["timm_backbone"], {"model_type": ["timm_backbone"]}, "timm_backbone", {}])
def test_odd_nested_configurations_are_ignored(odd: Any) -> None:
    assert nested_model_types({"backbone_config": odd}) == set()
    assert missing_libraries_of_component("model", odd if not isinstance(odd, str) else "no-such-type", frozenset()) == ""
    assert (
        TASKS["image-classification"].mismatch(model("ViTForImageClassification", "vit", vision_config=odd), IMAGE_FILES)
        is None
    )


@pytest.mark.parametrize("architecture", ["LayoutLMv3For{}", "MarkupLMFor{}", "TapasFor{}"])
def test_models_of_pages_do_no_text_task(architecture: str) -> None:
    model_type = architecture.removesuffix("For{}").lower()
    for head in ("SequenceClassification", "TokenClassification", "MaskedLM"):
        found = {
            task.name for task in tasks_for_auto(model(architecture.format(head), model_type), TEXT_FILES | TOKENIZER_FILES)
        }
        assert not found & {"text-classification", "token-classification", "fill-mask", "feature-extraction"}


@pytest.mark.parametrize(
    ("encoder", "decoder", "answers"), [("donut-swin", "mbart", True), ("deit", "trocr", False), ("vit", "gpt2", False)]
)
def test_of_encoder_decoders_only_donut_answers_about_pages(encoder: str, decoder: str, answers: bool) -> None:
    parts = {"encoder": {"model_type": encoder}, "decoder": {"model_type": decoder}}
    config = model("VisionEncoderDecoderModel", "vision-encoder-decoder", **parts)
    found = [task.name for task in tasks_for_auto(config, BOTH)]
    assert found == ["image-to-text", *["document-question-answering"] * answers]
    if not answers:
        with pytest.raises(SlipwayError, match=f"its encoder is of the type {encoder}, and donut-swin is needed"):
            check_task(TASKS["document-question-answering"], config, BOTH)


GPT = model("GPT2LMHeadModel", "gpt2")
CHAT = '{"chat_template": "{{ messages }}"}'


@pytest.mark.parametrize(
    "texts",
    [
        {"tokenizer_config__json": CHAT},
        {"tokenizer_config__json": "{}", "chat_template__jinja": "{{ messages }}"},
        {"tokenizer_config__json": "{}", "decision_template__jinja": "{{ state }}"},
        {},  # not known before the fetch: load finds out
    ],
    ids=["in tokenizer_config", "own file", "decision template", "unknown"],
)
def test_a_model_with_a_chat_template_decides(texts: dict[str, str]) -> None:
    assert check_survey(survey(GPT, **texts), (AUTO,)) == ("text-generation", "decision")
    assert check_survey(survey(GPT, **texts), ("decision",)) == ("decision",)


def test_a_model_without_chat_template_does_not_decide() -> None:
    plain = survey(GPT, tokenizer_config__json="{}")
    assert check_survey(plain, (AUTO,)) == ("text-generation",)
    with pytest.raises(
        SlipwayError, match="cannot do decision: it has no chat template, neither in tokenizer_config"
    ) as caught:
        check_survey(plain, ("decision",))
    possible = caught.value.hint.removeprefix("It can do: ").removesuffix(".").split(", ")
    assert {"feature-extraction", "text-generation"} <= set(possible)
    assert "decision" not in possible

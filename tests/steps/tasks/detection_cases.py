"""Cases of the tasks that find objects in an image, compare it with labels, or match two images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.steps.tasks.cases import Bad, Case, golden
from tests.steps.tasks.image_cases import picture
from tests.steps.tasks.text_cases import pipe
from tests.tiny_models import VOCABULARY, labelled, save_tokenizer

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


def small_text(length: int) -> dict[str, Any]:
    return {**SMALL, **IDS, "vocab_size": len(VOCABULARY), "max_position_embeddings": length}


def save_yolos(folder: Path) -> None:
    import torch
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

    torch.manual_seed(7)
    sides = {"image_size": [32, 48], "patch_size": 8, "num_detection_tokens": 6}
    model = YolosForObjectDetection(YolosConfig(**SMALL, **sides, initializer_range=0.3, **labelled()))
    with torch.no_grad():
        model.vit.embeddings.detection_tokens.normal_(std=2)  # zeros at first, so that all objects would be one
    model.save_pretrained(folder)
    YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 48}).save_pretrained(folder)


def save_owl(folder: Path) -> None:
    import torch
    from transformers import OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessorPil

    torch.manual_seed(7)
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    config = OwlViTConfig(text_config=small_text(16), vision_config=vision, projection_dim=16)
    OwlViTForObjectDetection(config).save_pretrained(folder)
    OwlViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    save_tokenizer(folder)


def save_grounding_dino(folder: Path) -> None:
    import torch
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil

    torch.manual_seed(7)
    depths = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2], "window_size": 4}
    swin = {"model_type": "swin", "image_size": 32, **depths, "out_features": ["stage2", "stage3", "stage4"]}
    layers = {f"{part}_layers": 2 for part in ("encoder", "decoder")} | {"d_model": 32, "num_queries": 8}
    heads = {f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("attention_heads", "n_points")}
    config = GroundingDinoConfig(
        backbone_config=swin, text_config={"model_type": "bert", **small_text(64)}, **layers, **heads, max_text_len=32
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    save_tokenizer(folder)


def save_clip(folder: Path) -> None:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    torch.manual_seed(7)
    vision = {**SMALL, "image_size": 16, "patch_size": 4}
    CLIPModel(CLIPConfig(text_config=small_text(24), vision_config=vision, projection_dim=16)).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    save_tokenizer(folder)


def save_siglip(folder: Path) -> None:
    import torch
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    torch.manual_seed(7)
    vision = {**SMALL, "image_size": 16, "patch_size": 4}
    SiglipModel(SiglipConfig(text_config=small_text(64), vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    save_tokenizer(folder)


def small_superpoint() -> Any:
    from transformers import SuperPointConfig

    sizes = {"encoder_hidden_sizes": [8, 8, 8, 16], "decoder_hidden_size": 16, "descriptor_decoder_dim": 16}
    return SuperPointConfig(**sizes, keypoint_threshold=0.0, max_keypoints=40, border_removal_distance=2, nms_radius=2)


def save_superglue(folder: Path) -> None:
    import torch
    from transformers import SuperGlueConfig, SuperGlueForKeypointMatching, SuperGlueImageProcessorPil

    torch.manual_seed(7)
    sizes: dict[str, Any] = {"hidden_size": 16, "keypoint_encoder_sizes": [8, 16], "gnn_layers_types": ["self", "cross"]}
    rest: dict[str, Any] = {"num_attention_heads": 2, "sinkhorn_iterations": 5, "matching_threshold": 0.0}
    model = SuperGlueForKeypointMatching(SuperGlueConfig(keypoint_detector_config=small_superpoint(), **sizes, **rest))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(18)  # or all scores would be nearly equal
    model.save_pretrained(folder)
    SuperGlueImageProcessorPil(size={"height": 48, "width": 64}).save_pretrained(folder)


def save_lightglue(folder: Path) -> None:
    import torch
    from transformers import LightGlueConfig, LightGlueForKeypointMatching, LightGlueImageProcessorPil

    torch.manual_seed(7)
    sizes = {"descriptor_dim": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LightGlueConfig(keypoint_detector_config=small_superpoint(), **sizes, filter_threshold=0.0)
    LightGlueForKeypointMatching(config).save_pretrained(folder)
    LightGlueImageProcessorPil(size={"height": 48, "width": 64}).save_pretrained(folder)


def detect(folder: Path) -> dict[str, Any]:
    found = pipe("object-detection", folder)(picture("object-detection"), threshold=golden("object-detection")["threshold"])
    return {"objects": sorted(found, key=lambda entry: -entry["score"])}


def detect_named(folder: Path) -> dict[str, Any]:
    request = golden("zero-shot-object-detection")
    find = pipe("zero-shot-object-detection", folder)
    labels, threshold = request["candidate_labels"], request["threshold"]
    return {"objects": find(picture("zero-shot-object-detection"), candidate_labels=labels, threshold=threshold)}


def compare(folder: Path) -> dict[str, Any]:
    request = golden("zero-shot-image-classification")
    sort = pipe("zero-shot-image-classification", folder)
    labels, template = request["candidate_labels"], request["hypothesis_template"]
    return {"labels": sort(picture("zero-shot-image-classification"), candidate_labels=labels, hypothesis_template=template)}


def match(folder: Path) -> dict[str, Any]:
    """As the model's page tells: transformers' own pipeline takes width for height."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForKeypointMatching

    images = [picture("keypoint-matching"), picture("keypoint-matching", "other")]
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForKeypointMatching.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor(images, return_tensors="pt"))
    sizes = [[image.size[::-1] for image in images]]
    [found] = processor.post_process_keypoint_matching(outputs, sizes, threshold=golden("keypoint-matching")["threshold"])
    places = zip(found["keypoints0"].tolist(), found["keypoints1"].tolist(), found["matching_scores"].tolist(), strict=True)
    matches = [
        {"image": dict(zip("xy", one, strict=True)), "other": dict(zip("xy", two, strict=True)), "score": score}
        for one, two, score in places
    ]
    return {"matches": sorted(matches, key=lambda entry: -entry["score"])}


CASES = (
    Case(
        "object-detection",
        save_yolos,
        detect,
        (Bad("image", {"image": b"GIF89a"}), Bad("threshold", {"threshold": 1.5}), Bad("top_k", {"top_k": 0})),
    ),
    Case(
        "zero-shot-object-detection",
        save_owl,
        detect_named,
        (
            Bad("candidate_labels", {"candidate_labels": []}),
            Bad("candidate_labels", {"candidate_labels": ["ship"] * 21}),
            Bad("candidate_labels", {"candidate_labels": ["ship " * 15]}),
            Bad("image", {"image": ...}),
        ),
    ),
    Case(
        "zero-shot-image-classification",
        save_clip,
        compare,
        (
            Bad("candidate_labels", {"candidate_labels": ...}),
            Bad("candidate_labels", {"candidate_labels": ["ship", "yard " * 30]}),
            Bad("hypothesis_template", {"hypothesis_template": "A photo."}),
            Bad("hypothesis_template", {"hypothesis_template": "{:>1000000000}"}),
        ),
    ),
    Case(
        "keypoint-matching",
        save_superglue,
        match,
        (
            Bad("other", {"other": ...}),
            Bad("other", {"other": b"not an image"}),
            Bad("image", {"image": b""}),
            Bad("threshold", {"threshold": "high"}),
        ),
    ),
)

"""Cases of the tasks that take one image."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from steps.serving.fields import Media
from tests.steps.tasks.cases import Bad, Case, golden
from tests.steps.tasks.text_cases import pipe
from tests.tiny_models import CARD, labelled, save_image_model

NOT_AN_IMAGE = Bad("image", {"image": b"not an image"})


def picture(task: str, field: str = "image") -> Any:
    """Return the golden image, opened with Pillow."""
    from PIL import Image

    return Image.open(io.BytesIO(golden(task)[field])).convert("RGB")


def encode_png(image: Any, **options: Any) -> bytes:
    """A PIL image as a PNG file; ``options`` are those of ``Image.save``."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def png(image: Any) -> dict[str, Any]:
    """A PIL image as the PNG in an answer."""
    return Media.of("image/png", encode_png(image)).model_dump()


def save(folder: Path, *parts: Any) -> Path:
    for part in parts:
        part.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return folder


def save_segmenter(folder: Path) -> Path:
    """A MaskFormer for images of 64 by 64 pixels with large class scores: random weights alone find nothing."""
    import torch
    from transformers import (
        DetrConfig,
        MaskFormerConfig,
        MaskFormerForInstanceSegmentation,
        MaskFormerImageProcessorPil,
        SwinConfig,
    )

    torch.manual_seed(7)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2, out_features=["stage4"]
    )
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    decoder = DetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        num_queries=6,
        **heads,
    )
    config = MaskFormerConfig(
        fpn_feature_size=32, mask_feature_size=32, backbone_config=backbone, decoder_config=decoder, **labelled()
    )
    model = MaskFormerForInstanceSegmentation(config)
    with torch.no_grad():
        model.class_predictor.weight.mul_(30)
        model.class_predictor.bias.copy_(torch.tensor([0.0, 2.0, 2.0, -9.0]))
        for name, parameter in model.mask_embedder.named_parameters():
            parameter.mul_(8 if name.endswith("weight") else 1)
    return save(folder, model, MaskFormerImageProcessorPil(size={"height": 64, "width": 64}, ignore_index=None))


def save_depth_model(folder: Path) -> Path:
    """Save a GLPN, which takes images in their own size."""
    import torch
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessorPil

    torch.manual_seed(7)
    config = GLPNConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8)
    return save(folder, GLPNForDepthEstimation(config), GLPNImageProcessorPil())


def save_enlarger(folder: Path) -> Path:
    """A Swin2SR that doubles both sides."""
    import torch
    from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution, Swin2SRImageProcessorPil

    torch.manual_seed(7)
    config = Swin2SRConfig(image_size=16, embed_dim=12, depths=[2], num_heads=[2], window_size=8, upscale=2)
    model = Swin2SRForImageSuperResolution(config)
    with torch.no_grad():
        model.upsample.final_convolution.weight.mul_(30)
    return save(folder, model, Swin2SRImageProcessorPil())


def save_mask_model(folder: Path) -> Path:
    """Save a SAM for images of 64 by 64 pixels whose masks depend on the points and get high scores if their edges are
    sharp: random weights alone find nothing.
    """
    import torch
    from transformers import SamConfig, SamImageProcessorPil, SamModel

    torch.manual_seed(7)
    small = {"hidden_size": 16, "num_attention_heads": 2}
    vision = {"image_size": 64, "patch_size": 8, "output_channels": 16, "window_size": 4, "num_hidden_layers": 2}
    config = SamConfig(
        vision_config={
            **small,
            **vision,
            "mlp_dim": 32,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
            "initializer_range": 0.02,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "image_embedding_size": 8},
        mask_decoder_config={**small, "mlp_dim": 32, "iou_head_hidden_dim": 16},
    )
    model = SamModel(config)
    with torch.no_grad():
        model.mask_decoder.iou_prediction_head.proj_out.weight.mul_(50)
        model.mask_decoder.iou_prediction_head.proj_out.bias.add_(0.95)
        rows, columns, channels = (torch.arange(count) for count in (8, 8, 16))
        angles = rows[:, None, None] * (channels % 4) + columns[:, None] * (channels // 4)
        model.vision_encoder.pos_embed.copy_(9 * torch.cos(angles * 0.4 + channels))
        for convolution in (model.mask_decoder.upscale_conv1, model.mask_decoder.upscale_conv2):
            convolution.weight.copy_(20 * convolution.weight.mean(dim=(2, 3), keepdim=True).expand_as(convolution.weight))
        for head in model.mask_decoder.output_hypernetworks_mlps:
            head.proj_out.weight.mul_(1e8)
    processor = SamImageProcessorPil(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    return save(folder, model, processor)


def classify(folder: Path) -> dict[str, Any]:
    return {"labels": pipe("image-classification", folder)(picture("image-classification"), top_k=5)}


def extract(folder: Path) -> dict[str, Any]:
    return {"features": pipe("image-feature-extraction", folder)(picture("image-feature-extraction"))[0]}


def segment(folder: Path) -> dict[str, Any]:
    image = picture("image-segmentation")
    found = pipe("image-segmentation", folder)(image, threshold=0.5)
    assert len(found) > 1
    segments = [{**entry, "mask": png(entry["mask"].convert("1"))} for entry in found]
    return {"width": image.width, "height": image.height, "segments": segments}


def depth(folder: Path) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    image = picture("depth-estimation")
    metres = pipe("depth-estimation", folder)(image)["predicted_depth"].double().numpy()
    low, high = metres.min(), metres.max()
    assert high > low
    grey = np.rint((metres - low) * (65535 / (high - low))).astype(np.uint16)
    size = {"width": image.width, "height": image.height}
    return {**size, "min": float(low), "max": float(high), "depth": png(Image.fromarray(grey))}


def enlarge(folder: Path) -> dict[str, Any]:
    import numpy as np
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, Swin2SRForImageSuperResolution

    image = picture("image-to-image")
    inputs = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")
    with torch.no_grad():
        made = Swin2SRForImageSuperResolution.from_pretrained(folder)(**inputs).reconstruction
    made = made.squeeze().clamp(0, 1).numpy()  # as transformers' documentation of Swin2SR says
    pixels = (np.moveaxis(made, 0, -1) * 255.0).round().astype(np.uint8)[: 2 * image.height, : 2 * image.width]
    assert len(np.unique(pixels)) > 50
    return {"width": 2 * image.width, "height": 2 * image.height, "image": png(Image.fromarray(pixels))}


def masks(folder: Path) -> dict[str, Any]:
    """The pipeline up to the sorting out of doubles, for which it wants torchvision."""
    import numpy as np
    from PIL import Image

    image = picture("mask-generation")
    pipeline = pipe("mask-generation", folder)
    found: list[Any] = []
    for inputs in pipeline.preprocess(image, points_per_crop=4):
        outputs = pipeline.forward(inputs)
        found += zip(outputs["iou_scores"].tolist(), outputs["boxes"].tolist(), outputs["masks"], strict=True)
    kept: list[Any] = []
    for score, box, runs in sorted(found, key=lambda each: -each[0]):
        if all(iou(box, other) <= 0.7 for _, other, _ in kept):
            kept.append((score, box, runs))
    assert 1 < len(kept) < len(found)
    result = []
    for score, box, runs in kept:
        inside = np.concatenate([np.full(count, place % 2 == 1) for place, count in enumerate(runs["counts"])])
        mask = np.ascontiguousarray(inside.reshape(image.width, image.height).T)
        result.append({"score": score, "box": [int(side) for side in box], "mask": png(Image.fromarray(mask))})
    return {"width": image.width, "height": image.height, "masks": result}


def iou(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes."""
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height) if areas else 0.0


CASES = (
    Case(
        "image-classification",
        save_image_model,
        classify,
        (
            Bad("image", {"image": ...}),
            Bad("image", {"image": b"not an image"}),
            Bad("image", {"image": "http://192.0.2.1/a.png"}),
            Bad("top_k", {"top_k": 1001}),
        ),
    ),
    Case("image-feature-extraction", save_image_model, extract, (NOT_AN_IMAGE, Bad("pooling", {"pooling": "max"}))),
    Case(
        "image-segmentation",
        save_segmenter,
        segment,
        (NOT_AN_IMAGE, Bad("subtask", {"subtask": "all"}), Bad("threshold", {"threshold": 1.5})),
    ),
    Case("depth-estimation", save_depth_model, depth, (NOT_AN_IMAGE, Bad("near", {"near": 3}))),
    Case("image-to-image", save_enlarger, enlarge, (NOT_AN_IMAGE, Bad("scale", {"scale": 4}))),
    Case(
        "mask-generation",
        save_mask_model,
        masks,
        (
            NOT_AN_IMAGE,
            Bad("points", {"points": [[160, 5]]}),
            Bad("points", {"points": [[1, 2, 3]]}),
            Bad("boxes", {"boxes": [[40, 40, 10, 10]]}),
            Bad("points_per_side", {"points_per_side": 33}),
        ),
    ),
)

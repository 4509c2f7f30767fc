"""What the table's one tiny model does not show: the other kinds, how their frames are prepared, and scores of all sorts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.serving.media.videos import read_frames
from steps.serving.tasks.video_classification import Request, Runner, load_frame_processor
from steps.tasks.video import VIDEO
from tests.steps.tasks.video_cases import SIZES, save_watcher
from tests.tiny_models import labelled

pytestmark = pytest.mark.slow

DATA = (GOLDEN_FILES / VIDEO).read_bytes()
# As the video processors of transformers write it down, with more than is asked for here.
SETTINGS: dict[str, Any] = {
    "video_processor_type": "VideoMAEVideoProcessor",
    "do_convert_rgb": True,
    "do_sample_frames": False,
    "fps": None,
    "do_resize": True,
    "size": {"shortest_edge": 18},
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 16, "width": 16},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def timesformer() -> Any:
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    return TimesformerForVideoClassification(
        TimesformerConfig(image_size=16, patch_size=8, num_frames=8, **SIZES, **labelled())
    )


def vivit() -> Any:
    from transformers import VivitConfig, VivitForVideoClassification

    return VivitForVideoClassification(VivitConfig(image_size=16, num_frames=8, tubelet_size=[2, 8, 8], **SIZES, **labelled()))


def vjepa() -> Any:
    from transformers import VJEPA2Config, VJEPA2ForVideoClassification

    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 2, "num_pooler_layers": 1}
    guess = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    return VJEPA2ForVideoClassification(
        VJEPA2Config(crop_size=16, patch_size=8, frames_per_clip=8, **sizes, **guess, **labelled())
    )


def videoprism() -> Any:
    from transformers import VideoPrismForVideoClassification, VideoPrismVisionConfig

    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_attention_heads": 2}
    layers = {"num_spatial_layers": 1, "num_temporal_layers": 1, "num_auxiliary_layers": 1}
    return VideoPrismForVideoClassification(
        VideoPrismVisionConfig(image_size=16, tubelet_size=[1, 8, 8], num_frames=8, **sizes, **layers, **labelled())
    )


@pytest.mark.parametrize("make", [timesformer, vivit, vjepa, videoprism])
@pytest.mark.parametrize("file", ["video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json"])
def test_each_class_gets_a_score(make: Callable[[], Any], file: str, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    (tmp_path / file).write_text(json.dumps({"video_processor": SETTINGS} if file.startswith("processor") else SETTINGS))
    labels = Runner(tmp_path).predict(Request(video=DATA)).labels
    assert sum(label.score for label in labels) == pytest.approx(1)
    assert [label.score for label in labels] == sorted((label.score for label in labels), reverse=True)
    assert len({label.score for label in labels}) == 3


def prepared(folder: Path, model_type: str, **changes: Any) -> Any:
    (folder / "video_preprocessor_config.json").write_text(json.dumps({**SETTINGS, **changes}))
    [frame] = read_frames(DATA, 1)
    [[pixels]] = load_frame_processor(folder, model_type)([frame], return_tensors="np")["pixel_values"]
    return frame, pixels


@pytest.mark.parametrize("model_type", ["videomae", "timesformer", "vjepa2", "videoprism_vision_model"])
def test_frames_are_prepared_by_the_files_settings(model_type: str, tmp_path: Path) -> None:
    from PIL import Image

    frame, pixels = prepared(tmp_path, model_type)
    small = np.asarray(Image.fromarray(frame).resize((24, 18), Image.Resampling.BILINEAR), np.float32) / 255
    expected = (small[1:17, 4:20] - SETTINGS["image_mean"]) / SETTINGS["image_std"]
    assert np.allclose(pixels, expected.transpose(2, 0, 1), atol=1e-5)


def test_frames_for_vivit_have_its_range(tmp_path: Path) -> None:
    frame, pixels = prepared(tmp_path, "vivit", rescale_factor=1 / 127.5, do_normalize=False)
    assert -1 <= pixels.min() < -0.3
    assert 0.3 < pixels.max() <= 1
    assert pixels.mean() == pytest.approx(frame[:, 12:-12].mean() / 127.5 - 1, abs=0.05)


def test_what_is_switched_off_is_not_done(tmp_path: Path) -> None:
    frame, pixels = prepared(tmp_path, "videomae", do_resize=False, do_center_crop=None, do_normalize=False, crop_size=None)
    assert np.allclose(pixels, frame.transpose(2, 0, 1) / 255, atol=1e-6)


def test_a_processor_that_says_too_little_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 16}))
    with pytest.raises(ValueError, match="does not say image_mean, image_std"):
        load_frame_processor(tmp_path, "videomae")


def test_scores_follow_the_problem_type(tmp_path: Path) -> None:
    save_watcher(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    sums = {}
    for problem in ("single_label_classification", "multi_label_classification", "regression"):
        (tmp_path / "config.json").write_text(json.dumps({**config, "problem_type": problem}))
        sums[problem] = sum(label.score for label in Runner(tmp_path).predict(Request(video=DATA)).labels)
    assert sums["single_label_classification"] == pytest.approx(1)
    assert 1.2 < sums["multi_label_classification"] < 1.8
    assert abs(sums["regression"]) < 1

"""The model of `make run`: a small Vision Transformer that reads handwritten digits, trained here in half a minute.

The 1797 pictures come with scikit-learn, so training needs no network. The model is a real one in every way that matters
to what follows: an architecture of the transformers library, safetensors weights, a preprocessing that the service must
get right, and an accuracy on pictures it has not seen, which the service's answers can be held against.

`prepare` trains it once and publishes it as the repository ``digits-vit`` of the forge.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.demo.repository import publish, tip

if TYPE_CHECKING:
    from torch import Tensor

REPOSITORY = "digits-vit"

EPOCHS = 50
HELD_OUT = 360  # pictures, a fifth, the same share of each digit
SEED = 0
PICTURE = 64  # pixels a side of what is posted, so that a person can see it
IMAGE = 16  # pixels a side of what the model sees: twice the scan's eight
PATCH = 4
BATCH = 64
LEARNING_RATE = 3e-3
SHIFT = 1  # pixels of IMAGE


@dataclass(frozen=True)
class TrainingResult:
    """How a training went: the share of held-out pictures that it reads right, its wall time, and the model's size."""

    accuracy: float
    seconds: float
    parameters: int


def prepare(root: Path, progress: Callable[[str], None] | None = None) -> str:
    """Train and publish the model in the forge's root unless it is there already; returns the commit id."""
    published = tip(root, REPOSITORY)
    if published:
        return published
    root.mkdir(parents=True, exist_ok=True)
    # An interrupted training leaves at most a temporary folder: publish names the commit last.
    with tempfile.TemporaryDirectory(prefix=".training-", dir=root) as folder:
        train(Path(folder), progress=progress)
        return publish(root, REPOSITORY, Path(folder), message="Train the digits model")


def train(folder: Path, *, epochs: int = EPOCHS, progress: Callable[[str], None] | None = None) -> TrainingResult:
    """Train the model and write config.json, model.safetensors, preprocessor_config.json and README.md into ``folder``.

    ``progress`` gets a line for a person after every fifth epoch. On one machine, two trainings write the same bytes.
    """
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    started = time.monotonic()
    digits = _digits()
    # Not ViTImageProcessor, which warns where torchvision is missing. Saved, the two are the same file.
    processor = ViTImageProcessorPil(size={"height": IMAGE, "width": IMAGE})
    pixels = processor(images=[_opened(png) for png in digits.pictures], return_tensors="pt")["pixel_values"]
    labels = torch.tensor(digits.labels)
    seen, held_out = torch.tensor(digits.seen), torch.tensor(digits.held_out)
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=IMAGE,
        patch_size=PATCH,
        initializer_range=0.1,  # the usual 0.02 is made for layers ten times as wide
        id2label={digit: str(digit) for digit in range(10)},
        label2id={str(digit): digit for digit in range(10)},
    )
    with _reproducible():
        model: Any = ViTForImageClassification(config)
        steps = epochs * -(-len(seen) // BATCH)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
        model.train()
        for epoch in range(1, epochs + 1):
            read = 0
            for batch in torch.split(seen[torch.randperm(len(seen))], BATCH):
                logits = model(_shifted(pixels[batch])).logits
                loss: Any = torch.nn.functional.cross_entropy(logits, labels[batch], label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                read += int((logits.argmax(dim=1) == labels[batch]).sum())
            if progress and epoch % 5 == 0:
                progress(f"epoch {epoch} of {epochs}: {read / len(seen):.1%} of the training pictures right")
        model.eval()
        with torch.no_grad():
            right = model(pixels[held_out]).logits.argmax(dim=1) == labels[held_out]
    accuracy = right.double().mean().item()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    folder.mkdir(parents=True, exist_ok=True)
    with _no_progress_bars():
        model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(_model_card(accuracy, parameters, epochs), encoding="utf-8")
    return TrainingResult(accuracy, time.monotonic() - started, parameters)


def held_out_pictures(count: int) -> list[tuple[bytes, str]]:
    """The first ``count`` of the 360 pictures that no training sees: PNG bytes (64 x 64, RGB) and the true label."""
    digits = _digits()
    return [(digits.pictures[number], str(digits.labels[number])) for number in digits.held_out[:count]]


@dataclass(frozen=True)
class _Digits:
    pictures: list[bytes]  # PNG
    labels: list[int]
    seen: list[int]  # numbers of the pictures to train on
    held_out: list[int]


@cache
def _digits() -> _Digits:
    import numpy
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    scans = load_digits()
    pictures = []
    for scan in scans.images:  # 8 x 8, grey from 0 to 16, the ink bright
        grey = Image.fromarray((scan * 255 / 16).round().astype(numpy.uint8))
        buffer = io.BytesIO()
        grey.resize((PICTURE, PICTURE), Image.Resampling.BICUBIC).convert("RGB").save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    labels = scans.target.tolist()
    seen, held_out = train_test_split(range(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=SEED)
    return _Digits(pictures, labels, seen, held_out)


def _opened(png: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(png))


def _shifted(pixels: Tensor) -> Tensor:
    """Move each picture of a batch (n, 3, IMAGE, IMAGE) by up to SHIFT pixels each way, over background (-1)."""
    import torch

    padded = torch.nn.functional.pad(pixels, (SHIFT,) * 4, value=-1.0)
    top, left = torch.randint(0, 2 * SHIFT + 1, (2, len(pixels), 1))
    side = torch.arange(IMAGE)
    rows, columns = (top + side)[:, :, None], (left + side)[:, None, :]
    return padded[torch.arange(len(pixels))[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


@contextmanager
def _reproducible() -> Iterator[None]:
    """A fixed seed that leaves the caller's random numbers alone, and one thread.

    One thread, because the order of a sum must not depend on the number of cores, and because on batches this small a
    second one costs as much as it brings.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _model_card(accuracy: float, parameters: int, epochs: int) -> str:
    return f"""---
license: bsd-3-clause
library_name: transformers
pipeline_tag: image-classification
---

# Handwritten digits, a small Vision Transformer

Reads one handwritten digit, bright ink on a dark ground, and answers `0` to `9`. It was made to try a model service with,
not to read anybody's post.

- **Accuracy**: {accuracy:.1%} of {HELD_OUT} held-out pictures. They are a random fifth of the data, so the same people
  wrote both parts; expect less on other people's handwriting, and much less on photographs.
- **Data**: the 1797 pictures of 8 x 8 pixels that scikit-learn ships as `load_digits` (scikit-learn: BSD-3-Clause), which
  are the test part of UCI's *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak, 1998).
- **Model**: `ViTForImageClassification`, {parameters:,} parameters, {IMAGE} x {IMAGE} pixels in patches of {PATCH} x {PATCH}.
- **Training**: {epochs} epochs of AdamW on the other pictures, shifted by up to {SHIFT} pixel, with label smoothing of 0.1
  and seed {SEED}.
"""

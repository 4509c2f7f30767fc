"""Loading the processor of a model that reads pictures or sound beside text, without torchvision.

A processor's part for videos needs torchvision, of which there is no build for every machine. Here it is left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from .library import Processor

if TYPE_CHECKING:
    from transformers import ProcessorMixin


def load_processor(folder: Path) -> Processor:
    """The processor in ``folder``; without its part for videos, if it has one."""
    import transformers

    processor: Processor
    processor_class = _processor_class(folder)
    if processor_class is transformers.SmolVLMProcessor:
        # It needs, for videos alone, a package that writes numbers as words. What it makes of pictures is Idefics3's.
        processor = transformers.Idefics3Processor.from_pretrained(folder, trust_remote_code=False)
    elif processor_class is not None and "video_processor" in processor_class.get_attributes():
        processor = _load_without_video(processor_class, folder)
    else:
        processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    return processor


def _processor_class(folder: Path) -> type[ProcessorMixin] | None:
    """The class that ``AutoProcessor`` would take, or None where it would find none."""
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (folder / file).exists() and (name := json.loads((folder / file).read_text()).get("processor_class")):
            return _class_of_library(name)
    name = PROCESSOR_MAPPING_NAMES.get(json.loads((folder / "config.json").read_text()).get("model_type"))
    return _class_of_library(name) if name else None


def _class_of_library(name: str) -> type[ProcessorMixin] | None:
    import transformers

    found: type[ProcessorMixin] | None = getattr(transformers, name, None)
    return found


class _NoVideoProcessor(dict[str, object]):
    """Stands in a processor for its part for videos. It is a dictionary because processors write their parts to the log."""

    model_input_names: ClassVar[list[str]] = []


def _load_without_video(processor_class: type[ProcessorMixin], folder: Path) -> Processor:
    """A processor of this class whose part for videos is ``_NoVideoProcessor``."""
    import transformers

    class WithoutVideo(processor_class):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: object) -> object:
            if argument_name == "video_processor":
                return _NoVideoProcessor
            return super().check_argument_for_proper_class(argument_name, argument)

    auto_classes = {
        "tokenizer": transformers.AutoTokenizer,
        "image_processor": transformers.AutoImageProcessor,
        "feature_extractor": transformers.AutoFeatureExtractor,
    }
    parts = [
        _NoVideoProcessor()
        if part == "video_processor"
        else auto_classes[part].from_pretrained(folder, trust_remote_code=False)
        for part in processor_class.get_attributes()
    ]
    settings, _ = processor_class.get_processor_dict(folder)
    processor: Processor = WithoutVideo.from_args_and_dict(parts, settings)
    return processor

"""Real transformers models, tiny and random, made on the spot and saved as their authors would: ``save_pretrained``.

Weights come from a fixed seed, so a folder has the same bytes in every run. The fixtures are shared: conftest files import
them, and each folder is made once a session.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steps.tasks.text import SENTENCE

WORDS = sorted({word.strip(".,").lower() for word in SENTENCE.split()})
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", *WORDS, "ship", "##s", "yard", "crane"]
LABELS = ("O", "PERSON", "PLACE")
MAX_LENGTH = 64
CARD = "---\nlicense: apache-2.0\n---\n# A tiny model for tests\n"


def small_bert(**settings: Any) -> Any:
    """A configuration of BERT with two layers; ``settings`` change it."""
    from transformers import BertConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertConfig(**{"vocab_size": len(VOCABULARY), "max_position_embeddings": MAX_LENGTH, **sizes, **settings})


def labelled() -> dict[str, Any]:
    return {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}


def save_tokenizer(folder: Path) -> None:
    """A fast WordPiece tokenizer over the golden sentence's words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ends = [(name, VOCABULARY.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")},
    ).save_pretrained(folder)


def save_text_model(kind: str, folder: Path, **settings: Any) -> Path:
    """A model of transformers' class ``kind`` with its tokenizer."""
    import torch
    import transformers

    torch.manual_seed(7)
    getattr(transformers, kind)(small_bert(**settings)).save_pretrained(folder)
    save_tokenizer(folder)
    (folder / "README.md").write_text(CARD)
    return folder


def save_image_model(folder: Path) -> Path:
    """A vision transformer over pictures of 16 by 16 pixels."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(7)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(image_size=16, patch_size=4, **sizes, **labelled())
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return folder


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Path]) -> Path:
    """The session's folder ``name``, made when it is asked for first."""
    folder = factory.getbasetemp() / "tiny-models" / name
    return folder if folder.is_dir() else make(folder)


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "vit", save_image_model)


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(
        tmp_path_factory, "classifier", lambda folder: save_text_model("BertForSequenceClassification", folder, **labelled())
    )


@pytest.fixture(scope="session")
def tagger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "tagger", lambda folder: save_text_model("BertForTokenClassification", folder, **labelled()))


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "encoder", lambda folder: save_text_model("BertModel", folder))

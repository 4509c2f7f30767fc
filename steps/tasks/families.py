"""The Python packages of each family of tasks, beside those that every service needs.

``steps.package.pins`` makes the locked requirements from them, and ``Task.mismatch`` knows from them whether a model's
tokenizer, processor and class can be opened.
"""

from __future__ import annotations

# A tokenizer saved as a SentencePiece file is read with both. Some tokenizers, such as Marian's and SigLIP's, have no other
# file. 2 MB as wheels.
TOKENIZERS = ("protobuf", "sentencepiece")
PACKAGES: dict[str, tuple[str, ...]] = {
    # sacremoses: the texts that Marian, FSMT and XLM were trained on were normalized with it.
    "text": (*TOKENIZERS, "sacremoses"),
    "table": ("pandas",),
    # SciPy, 35 MB: MaskFormer and similar classes (Mask2Former, OneFormer, EoMT) are not opened without it.
    "image": ("Pillow", "scipy", *TOKENIZERS),
    "audio": ("soundfile", "soxr", *TOKENIZERS),
    "video": ("Pillow", "av"),
    "multimodal": ("Pillow", "soundfile", "soxr", *TOKENIZERS),
}


def packages(family: str) -> frozenset[str]:
    """Return the names of a family's packages in lower case."""
    return frozenset(name.lower() for name in PACKAGES[family])

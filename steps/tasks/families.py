"""Which packages the services of each family of tasks need beside those that serve any model.

``steps.package.pins`` makes the locked requirements of them, and the check of a model before its download knows from them
what its tokenizer, its processor and the model itself can be opened with.
"""

from __future__ import annotations

# Tokenizers that were saved as SentencePiece's own file are read with both of these; some, such as Marian's and SigLIP's, are
# nothing but a wrapper of it. 2 MB as wheels.
TOKENIZERS = ("protobuf", "sentencepiece")
PACKAGES: dict[str, tuple[str, ...]] = {
    # sacremoses: Marian's texts were made even by it before the model learned from them, and so were those of FSMT and XLM.
    "text": (*TOKENIZERS, "sacremoses"),
    "table": ("pandas",),
    # SciPy, of 35 MB: MaskFormer and its kin (Mask2Former, OneFormer, EoMT) are not even opened without it.
    "image": ("Pillow", "scipy", *TOKENIZERS),
    "audio": ("soundfile", "soxr", *TOKENIZERS),
    "video": ("Pillow", "av"),
    "multimodal": ("Pillow", "soundfile", "soxr", *TOKENIZERS),
}


def packages(family: str) -> frozenset[str]:
    """What the family has beside the packages of every service, in lower case."""
    return frozenset(name.lower() for name in PACKAGES[family])

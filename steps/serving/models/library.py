"""The types of what transformers returns, as far as it is read here; the library publishes none.

Which attributes an object has besides these depends on the model's architecture, so they can be read, untyped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, dtype


class Encoding(Protocol):
    """A model's input by the names of its arguments: a ``BatchEncoding`` or a ``BatchFeature``."""

    def keys(self) -> KeysView[str]:
        """The names of the arguments."""

    def values(self) -> Iterable[Tensor]:
        """Their values."""

    def __getitem__(self, name: str, /) -> Tensor: ...

    def __setitem__(self, name: str, value: object, /) -> None: ...

    def __contains__(self, name: object, /) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def to(self, dtype: dtype) -> Encoding:
        """The same with tensors of floats in another type."""


class Output(Protocol):
    """What a model returns: tensors, by name and by place."""

    logits: Tensor

    def __getitem__(self, place: int | str, /) -> Tensor: ...

    def __getattr__(self, name: str, /) -> Any: ...


class Config(Protocol):
    """A model's configuration: ``config.json`` with defaults, or ``generation_config.json``."""

    model_type: str
    is_encoder_decoder: bool
    id2label: dict[int, str]
    num_labels: int
    max_new_tokens: int | None

    def get_text_config(self, *, decoder: bool | None = None, encoder: bool | None = None) -> Config:
        """The part that describes the model's side for text."""

    def to_dict(self) -> dict[str, object]:
        """All settings."""

    def __getattr__(self, name: str, /) -> Any: ...


class Model(Protocol):
    """A ``PreTrainedModel``."""

    config: Config
    generation_config: Config
    dtype: dtype
    main_input_name: str

    def can_generate(self) -> bool:
        """Whether the model writes tokens."""

    def generate(self, **arguments: object) -> Tensor:
        """Tokens, of shape (rows, tokens)."""

    def __call__(self, **inputs: object) -> Output:
        """One forward pass."""

    def __getattr__(self, name: str, /) -> Any: ...


class Tokenizer(Protocol):
    """A ``PreTrainedTokenizerBase``."""

    model_max_length: int
    pad_token: str | None
    eos_token: str | None
    pad_token_id: int | None
    mask_token: str
    mask_token_id: int
    unk_token_id: int | None
    cls_token_id: int | None
    all_special_ids: list[int]
    chat_template: str | None
    is_fast: bool
    padding_side: str
    src_lang: str | None  # of tokenizers for translation
    max_column_id: int  # of tokenizers for tables
    max_row_id: int

    def decode(self, tokens: object, *, skip_special_tokens: bool = False) -> str:
        """The text of tokens."""

    def tokenize(self, text: str) -> list[str]:
        """A text's tokens."""

    def num_special_tokens_to_add(self, *, pair: bool = False) -> int:
        """How many tokens are put around a text, or around two."""

    def __call__(self, *texts: object, **options: object) -> Any:
        """Encode texts: lists of tokens by name, or tensors with ``return_tensors="pt"``."""

    def __getattr__(self, name: str, /) -> Any: ...


class Processor(Protocol):
    """What makes a model's input of pictures, of sound, or of both and text."""

    tokenizer: Tokenizer
    chat_template: str | None
    sampling_rate: int
    apply_ocr: bool

    def __call__(self, *media: object, **options: object) -> Encoding:
        """Make the input of a model."""

    def __getattr__(self, name: str, /) -> Any: ...


class Pipeline(Protocol):
    """A ``Pipeline`` of transformers with a model."""

    model: Model
    tokenizer: Tokenizer
    image_processor: Processor
    feature_extractor: Processor

    def __call__(self, *inputs: object, **options: object) -> Any:
        """Answer; the form depends on the task."""

    def __getattr__(self, name: str, /) -> Any: ...

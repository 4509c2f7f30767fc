"""Whether a model that transformers opened is whole: every tensor that the task reads came from the files, and is finite.

The library fills what it does not find with random values, and says so in a warning and in its loading info. That is normal
for what a task does not read: a classifier's checkpoint is opened without its pooler, wav2vec 2.0 without the vector that masks
sound in training. So what is missing is judged by its use. The model answers the golden request again with zeros in the missing
tensors, and with NaN: if an answer is another, or NaN comes out of the model, they are read.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from steps.core.errors import Reason, SlipwayError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CHUNK = 1 << 24  # elements that are looked at together, so that a check needs megabytes and not a second model
NAMED = 5  # names in a message
# How much more a model may need than the files hold: another type, tables that are computed from the configuration.
TIMES, EXTRA = 8, 1 << 29  # bytes
# Tables of indices and counters, which follow from the configuration or are read in training only. The library computes them.
_COMPUTED = re.compile(r"(^|[._])(num_batches_tracked|position_ids|token_type_ids|relative_position_index)$")
_STATISTICS = re.compile(r"(^|\.)running_(mean|var)$")  # of batch normalization: buffers that are learned
_UNREAD_OUTPUTS = re.compile(r"pooler_output$")  # tasks that read it are found by their answer
_LOGITS = ".logits"
_OVERFLOW = "The weights are finite, so the model overflows on the way; try it with another `dtype` in config.json."
_WHOLE = "Fetch a complete copy, or save the model again with `model.save_pretrained(folder)`."


@dataclass(frozen=True)
class Opened:
    """A model as the library opened it: tensors that the files do not hold, and those in the files that it did not take."""

    model: PreTrainedModel
    missing: frozenset[str]
    unexpected: frozenset[str]


@dataclass
class LoadedWeights:
    """What the library opened while ``watch`` was on.

    Attributes:
        task: The task that it is opened for, for messages.
        size: Bytes of tensors in the weight files.
        opened: Each model that was opened, in order.
        refusal: Why the last class that was tried does not fit the files; None where it does.
    """

    task: str
    size: int
    opened: list[Opened] = field(default_factory=list)
    refusal: SlipwayError | None = None

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Keep the loading info of each ``from_pretrained`` in this block, whoever calls it: pipelines and auto classes do.

        A class whose tensors have other shapes than the files' fails as it does in the library, so that a pipeline goes on to
        its next class. If none fits, ``refusal`` names the tensors.
        """
        from transformers import PreTrainedModel

        original = PreTrainedModel.__dict__["from_pretrained"]

        def from_pretrained(cls: type[PreTrainedModel], /, *arguments: object, **options: object) -> object:
            asked = options.pop("output_loading_info", False)
            self._check_size(cls, options.get("config"), *arguments[:1])
            open_model = original.__get__(None, cls)
            model, info = open_model(*arguments, **{**options, "output_loading_info": True, "ignore_mismatched_sizes": True})
            if info["mismatched_keys"]:
                self.refusal = _mismatched(cls, info["mismatched_keys"])
                raise RuntimeError(self.refusal.message)
            self.opened.append(Opened(model, frozenset(info["missing_keys"]), frozenset(info["unexpected_keys"])))
            return (model, info) if asked else model

        PreTrainedModel.from_pretrained = classmethod(from_pretrained)
        try:
            yield
        finally:
            PreTrainedModel.from_pretrained = original

    def check(self) -> None:
        """Refuse missing tensors of layers, layers that the model leaves out, and numbers that are none.

        Raises:
            SlipwayError: ``InvalidWeights`` or ``InvalidConfig``, naming tensors and the model's class.
        """
        for opened in self.opened:
            self._check_missing_layers(opened)
            _check_layers(opened)
            _check_finite(opened)

    @contextlib.contextmanager
    def watch_answer(self) -> Iterator[None]:
        """Refuse NaN in the logits of an answer that shows none: the likeliest of nothing is the first word, or no object.

        Raises:
            SlipwayError: ``LoadFailed``.
        """
        with contextlib.ExitStack() as stack:
            found = [stack.enter_context(_outputs(opened.model)) for opened in self.opened]
            yield
        for opened, names in zip(self.opened, found, strict=True):
            if _LOGITS in names and not self._missing(opened):
                raise SlipwayError(
                    Reason.LOAD_FAILED,
                    f"{type(opened.model).__name__} answers the golden request of {self.task} with NaN in its logits.",
                    hint=_OVERFLOW,
                )

    def check_use(self, answer: object, answer_again: Callable[[], object]) -> None:
        """Refuse missing tensors that the answer depends on.

        Args:
            answer: The model's answer.
            answer_again: Asks the model again. The models are of no use afterwards if tensors are missing.

        Raises:
            SlipwayError: ``InvalidWeights``, naming tensors and the model's class.
        """
        for opened in self.opened:
            if missing := self._missing(opened):
                zeros = self._with_value(opened, missing, 0.0, answer, answer_again)
                nothing = self._with_value(opened, missing, float("nan"), answer, answer_again)
                if zeros is None or nothing is None or nothing - zeros:
                    raise self._refuse(opened, missing)

    def _with_value(
        self, opened: Opened, missing: list[str], value: float, answer: object, answer_again: Callable[[], object]
    ) -> set[str] | None:
        """Which outputs are NaN with this value in all missing tensors; None where the answer is another, or there is none."""
        for name in missing:
            _tensor(opened.model, name).fill_(value)
        with _outputs(opened.model) as found:
            try:
                return found if answer_again() == answer else None
            except Exception:  # whatever a library raises when it meets NaN
                return None

    def _missing(self, opened: Opened) -> list[str]:
        return sorted(name for name in opened.missing if not _COMPUTED.search(name))

    def _check_missing_layers(self, opened: Opened) -> None:
        """A stack of layers, a layer that is missing among others, and a part of a layer are read by some request.

        The golden request need not be that one: that of a model for text and sound has no sound.
        """
        missing = self._missing(opened)
        loaded = [name for name in opened.model.state_dict() if name not in opened.missing]
        kinds = {_kind(name) for name in loaded}
        layers = {layer for name in loaded for layer in _numbered(name)}
        stacks = Counter(stack for stack, _ in {layer for name in missing for layer in _numbered(name)})
        lost = [
            name
            for name in missing
            if _kind(name) in kinds
            or any(layer in layers or stacks[layer[0]] > 1 for layer in _numbered(name))
            or not _tensor(opened.model, name).is_floating_point()
        ]
        if lost:
            raise self._refuse(opened, lost)

    def _refuse(self, opened: Opened, missing: list[str]) -> SlipwayError:
        base = opened.model.base_model_prefix
        head = hasattr(opened.model, base) and not any(name.startswith(f"{base}.") for name in missing)
        hint = (
            f"This checkpoint has no head for {self.task}, so its answers would be random. Take a checkpoint that was "
            "trained for the task, or a task that needs no head."
        )
        return SlipwayError(
            Reason.INVALID_WEIGHTS,
            f"{type(opened.model).__name__} cannot do {self.task} without tensors that the weights do not hold: "
            f"{_listed(missing)}.",
            hint=hint if head else _WHOLE,
        )

    def _check_size(self, cls: type[PreTrainedModel], config: object, folder: object = None) -> None:
        """Refuse a model that is much larger than the files, while it costs nothing: its tensors have shapes, and no memory."""
        import torch
        from transformers import PreTrainedConfig

        try:
            if not isinstance(config, PreTrainedConfig):
                config = cls.config_class.from_pretrained(folder)
            with torch.device("meta"):
                model = cls(config)
            tensors = [*model.parameters(), *model.buffers()]
        except Exception:  # the library will say it better when it opens the model
            return
        needed = sum(each.numel() * each.element_size() for each in tensors)
        if needed > TIMES * self.size + EXTRA:
            largest = max(tensors, key=lambda each: each.numel())
            self.refusal = SlipwayError(
                Reason.INVALID_CONFIG,
                f"config.json does not fit the weights: it describes a {cls.__name__} of {needed} bytes, with a tensor "
                f"of shape {tuple(largest.shape)}, and the weights hold {self.size} bytes.",
                hint="Correct the sizes in config.json, or save the model again with `model.save_pretrained(folder)`.",
            )
            raise self.refusal


def _check_layers(opened: Opened) -> None:
    """Refuse a model with fewer layers than the files hold, but for layers that predict more than the next token."""
    config = opened.model.config.get_text_config()
    if getattr(config, "num_nextn_predict_layers", 0):
        return
    base = f"{opened.model.base_model_prefix}."
    taken: dict[str, set[str]] = {}
    for name in opened.model.state_dict():
        for kind, number in _numbered(name.removeprefix(base)):
            taken.setdefault(kind, set()).add(number)
    for name in sorted(opened.unexpected):
        for kind, number in _numbered(name.removeprefix(base)):
            if kind in taken and number not in taken[kind]:
                raise SlipwayError(
                    Reason.INVALID_CONFIG,
                    f"config.json does not fit the weights: they hold {name}, and {type(opened.model).__name__} has only "
                    f"{len(taken[kind])} of {kind}* by its config.json.",
                    hint="Correct the number of layers in config.json, or save the model again with "
                    "`model.save_pretrained(folder)`.",
                )


def check_answer(task: str, answer: Mapping[str, object]) -> None:
    """Refuse an answer with a number that is none. Raises ``LoadFailed``, naming the place."""
    if where := _not_finite(answer, "answer"):
        raise SlipwayError(
            Reason.LOAD_FAILED,
            f"The model's answer to the golden request of {task} is not a number: {where}.",
            hint=_OVERFLOW,
        )


def _not_finite(value: object, where: str) -> str:
    """The first place of NaN or an infinity in a value, or nothing."""
    items: Iterator[tuple[str, object]] = iter(())
    if isinstance(value, float):
        return "" if abs(value) < float("inf") else f"{where} is {value}"
    if isinstance(value, Mapping):
        items = ((f"{where}.{name}", item) for name, item in value.items())
    elif isinstance(value, list | tuple):
        items = ((f"{where}[{index}]", item) for index, item in enumerate(value))
    return next((found for place, item in items if (found := _not_finite(item, place))), "")


@contextlib.contextmanager
def _outputs(model: PreTrainedModel) -> Iterator[set[str]]:
    """The names of the model's outputs that held NaN in a forward pass of this block."""
    import torch

    found: set[str] = set()

    def look(value: object, name: str) -> None:
        if isinstance(value, torch.Tensor):
            if value.is_floating_point() and not _UNREAD_OUTPUTS.search(name) and bool(torch.isnan(value).any()):
                found.add(name)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                look(item, f"{name}.{key}")
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                look(item, f"{name}[{index}]")

    hook = model.register_forward_hook(lambda module, inputs, output: look(output, ""))
    try:
        yield found
    finally:
        hook.remove()


def _check_finite(opened: Opened) -> None:
    """Refuse NaN and infinities in what came from the files.

    In buffers, which are no weights, infinities are usual: masks, and limits that do not limit (Gemma 4 saves such).
    """
    buffers = {name for name, _ in opened.model.named_buffers() if not _STATISTICS.search(name)}
    seen: set[tuple[int, int]] = set()
    for name, tensor in opened.model.state_dict().items():
        place = (tensor.data_ptr(), tensor.numel())
        if name in opened.missing or tensor.is_meta or place in seen:
            continue
        seen.add(place)
        if what := _bad_number(tensor, infinity=name in buffers):
            raise SlipwayError(
                Reason.INVALID_WEIGHTS,
                f"The tensor {name} of {type(opened.model).__name__} holds {what}.",
                hint="The weights are damaged, or training went wrong. Take another revision of the model.",
            )


def _bad_number(tensor: Tensor, *, infinity: bool) -> str:
    """What a tensor holds that it must not, or nothing; ``infinity`` says that infinities are allowed."""
    import torch

    if not tensor.is_floating_point() or tensor.element_size() * 8 < 8:
        return ""
    for chunk in torch.split(tensor.detach().reshape(-1), CHUNK):
        values = chunk.float() if chunk.element_size() == 1 else chunk
        # A sum costs one pass and no memory. It is a number if all are, but for sums that are too large for one.
        if bool(torch.isfinite(values.sum(dtype=torch.float64 if values.element_size() == 8 else torch.float32))):
            continue
        if bool(torch.isnan(values).any()):
            return "NaN"
        if not infinity and bool(torch.isinf(values).any()):
            return "infinity"
    return ""


def _tensor(model: PreTrainedModel, name: str) -> Tensor:
    found: Tensor = model.get_parameter_or_buffer(name)
    return found.data


def _kind(name: str) -> str:
    """A tensor's name without the numbers of layers and experts in it; those without a number have no kind but their own."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)


def _numbered(name: str) -> Iterator[tuple[str, str]]:
    """What a tensor is part of that there are several of: ``encoder.layer.`` and ``3``, for example."""
    parts = name.split(".")
    for place, part in enumerate(parts[:-1]):
        if place and part.isdigit():
            yield ".".join(parts[:place]) + ".", part


def _mismatched(cls: type[PreTrainedModel], keys: set[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> SlipwayError:
    shapes = [f"{name} of shape {tuple(needed)}, not {tuple(found)}" for name, found, needed in sorted(keys)]
    return SlipwayError(
        Reason.INVALID_WEIGHTS,
        f"{cls.__name__} with this config.json needs other tensors than the weights hold: {_listed(shapes)}.",
        hint="config.json and the weights are not of one model. " + _WHOLE,
    )


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f", and {more} more" if more > 0 else "")

"""One entry of the task table."""

from __future__ import annotations

from dataclasses import dataclass

from steps.documents import Golden

# A tokenizer saves at least one of these; which one depends on its class.
TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model"}
)
PROCESSOR_FILES = frozenset({"preprocessor_config.json", "processor_config.json"})


@dataclass(frozen=True)
class Task:
    """What is known of a task without loading anything.

    ``heads`` are the endings of fitting class names (``ForImageClassification``); empty: any class. ``needs`` holds
    groups of files of which the model must have at least one each. ``service`` names the module in ``steps.serving`` and
    the template of the same name; ``family`` the locked requirements.
    """

    name: str
    title: str
    family: str
    service: str
    aliases: tuple[str, ...]
    heads: tuple[str, ...]
    needs: tuple[frozenset[str], ...]
    golden: Golden
    curl: str

    def misfit(self, architectures: tuple[str, ...], files: frozenset[str]) -> str | None:
        """Why a model with these classes and top-level files cannot do the task, or None when it can."""
        if self.heads and not any(name.endswith(self.heads) for name in architectures):
            return (
                f"its architecture is {', '.join(architectures)}, and a class that ends in {' or '.join(self.heads)} is needed"
            )
        for group in self.needs:
            if not group & files:
                return f"it has none of the files {', '.join(sorted(group))}"
        return None

"""Which files of a source are taken: one copy of one weight format, and the texts that belong to it.

A repository on a hub often holds the same weights six times over. transformers looks for ``model.safetensors`` first and
for the shards of ``model.safetensors.index.json`` next, in the top folder; so does this choice. ``include`` adds what it
leaves out (a variant, a subfolder), ``exclude`` takes away; both are shell patterns over whole paths (``fnmatch``).

A text whose name no library looks for, because it has a space, say, or a leading dot, is left and stops nobody's model; so is
a page that is a link. What was asked for under such a name is refused instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from steps.core.errors import Reason, SlipwayError
from steps.core.lock import MAX_PATH, SAFE_PATH
from steps.gate.formats import FileFormat, classify

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-[0-9]{5}-of-[0-9]{5}\.safetensors")
WEIGHTS_FORMAT = "safetensors"
EXCLUDED = "excluded"
_FORBIDDEN = FileFormat.FORBIDDEN
_CONVERT = "convert it once with `AutoModel.from_pretrained(...).save_pretrained(folder)`"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # https://huggingface.co/docs/peft
MAX_FILES = 100_000  # of a source
MAX_TAKEN = 10_000
# What is there for people: a model does not need it.
PAGES = ("*.md", "LICENSE*", "NOTICE*")
# Spelt like this where the same name occurs in several cases; other names are looked for in lower case.
_SPELLINGS = frozenset({"README.md", "LICENSE", "NOTICE"})


@dataclass(frozen=True, slots=True)  # there may be a hundred thousand
class SourceFile:
    """A file as its source lists it. ``size`` is that of the content, not of a pointer to it; 0 where it is not known.

    ``stored`` is how the source keeps it, ``ref`` how it is asked for there: a Git blob id, an LFS object id, a path.
    ``problem`` says why it cannot be had, which matters where it is taken: a pointer to an LFS object that no rule allows.
    """

    path: str
    size: int
    stored: Literal["git", "lfs", "file", "object", "symlink", "submodule", "special"]
    ref: str
    problem: str = ""
    size_known: bool = True


@dataclass(frozen=True)
class Choice:
    """What is taken and what is left, each with the reason in a few words."""

    taken: tuple[tuple[SourceFile, str], ...]
    left: tuple[tuple[SourceFile, str], ...]

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The files that are taken."""
        return tuple(file for file, _ in self.taken)

    @property
    def size(self) -> int:
        """The bytes of the files that are taken."""
        return sum(file.size for file, _ in self.taken)

    @property
    def left_size(self) -> int:
        """The bytes of the files that are left, as far as they are known: a file in Git itself is not asked for its size."""
        return sum(file.size for file, _ in self.left)


def printable(name: bytes) -> str:
    """A name from a source as text that a terminal may show; a path that needs an escape is not a safe one."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def choose(files: Iterable[SourceFile], include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Choice:
    """Decide for every file whether it is taken.

    Args:
        files: All files of the source.
        include: Shell patterns of files to take beside the usual choice.
        exclude: Shell patterns of files to leave out.

    Raises:
        SlipwayError: ``NoSafetensors`` (naming the formats that are there), ``ForbiddenFormat`` for an included file that the
            gate refuses, ``UnsafePath``, ``TooLarge`` for too many files, ``SourceProtocol`` for a file that the source cannot
            name properly, and ``InvalidConfig`` without a config.json.
    """
    files = sorted(files, key=lambda file: file.path)
    if len(files) > MAX_FILES:
        raise too_many_files()
    twins = _twins(files)
    default_weights = _default_weights({file.path for file in files} - _matching(files, exclude))
    taken: list[tuple[SourceFile, str]] = []
    left: list[tuple[SourceFile, str]] = []
    for file in files:
        file_format, label = classify(file.path)
        if _matches(file.path, exclude):
            left.append((file, EXCLUDED))
        elif _matches(file.path, include):
            if file_format not in (FileFormat.WEIGHTS, FileFormat.TEXT):
                raise SlipwayError(Reason.FORBIDDEN_FORMAT, f"`include` asks for {file.path}, which is {label}.")
            taken.append((file, "included"))
        elif file_format is FileFormat.WEIGHTS:
            if file.path in default_weights:
                taken.append((file, "weights"))
            else:
                left.append((file, "another copy of the weights"))
        elif file.path.endswith(".index.json") and file.path != _index_for(default_weights):
            left.append((file, "index of other weights"))
        elif file_format is FileFormat.TEXT and "/" not in file.path:
            if why := odd_name(file.path) or twins.get(file.path, "") or _linked_page(file):
                left.append((file, why))
            else:
                taken.append((file, "text"))
        else:
            left.append((file, label if file_format is not FileFormat.TEXT else "in a subfolder"))
    _check(taken, left)
    return Choice(tuple(taken), tuple(left))


def too_many_files() -> SlipwayError:
    """The error for a source with more than ``MAX_FILES`` files, for the caller to raise."""
    return SlipwayError(
        Reason.TOO_LARGE,
        f"There are more than {MAX_FILES} files at the source, and {MAX_FILES} are allowed.",
        hint="Publish the model's files in a repository or a folder of their own.",
    )


def odd_name(path: str) -> str:
    """What keeps a path from being one that every file system, shell and registry reads alike; empty: nothing does."""
    if SAFE_PATH.fullmatch(path) and len(path) <= MAX_PATH:
        return ""
    if len(path) > MAX_PATH:
        return f"its name has more than {MAX_PATH} characters"
    if any(part.startswith(".") for part in path.split("/")):
        return "its name begins with a dot"
    if any(part.startswith("-") for part in path.split("/")):
        return "its name begins with a dash"
    return "its name has more than Latin letters, digits and . _ + @ = - within"


def _twins(files: list[SourceFile]) -> dict[str, str]:
    """Texts whose names differ only in case from the usual spelling of another one, by path, with the reason to leave them."""
    spelt: dict[str, list[str]] = {}
    for file in files:
        if "/" not in file.path and classify(file.path)[0] is FileFormat.TEXT:
            spelt.setdefault(file.path.lower(), []).append(file.path)
    twins: dict[str, str] = {}
    for folded, paths in spelt.items():
        usual = min(paths, key=lambda path: (path not in _SPELLINGS, path != folded, path))
        twins |= {path: f"differs only in case from {usual}" for path in paths if path != usual}
    return twins


def _linked_page(file: SourceFile) -> str:
    return "a symbolic link" if file.stored == "symlink" and _matches(file.path, PAGES) else ""


def _default_weights(paths: set[str]) -> set[str]:
    if SINGLE in paths:
        return {SINGLE}
    if INDEX in paths:
        return {path for path in paths if SHARD.fullmatch(path)}
    return set()


def _index_for(weights: set[str]) -> str:
    return "" if weights == {SINGLE} else INDEX


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _matching(files: list[SourceFile], patterns: tuple[str, ...]) -> set[str]:
    return {file.path for file in files if _matches(file.path, patterns)}


def _check(taken: list[tuple[SourceFile, str]], left: list[tuple[SourceFile, str]]) -> None:
    if len(taken) > MAX_TAKEN:
        raise SlipwayError(Reason.TOO_LARGE, f"{len(taken)} files would be taken, and {MAX_TAKEN} are allowed.")
    for file, _ in taken:
        if file.stored == "symlink":
            raise SlipwayError(
                Reason.UNSAFE_PATH,
                f"{file.path} is a symbolic link, and links are not followed.",
                hint="Put the file itself in its place, or leave it out with `exclude`. "
                "`hf download NAME --local-dir FOLDER` makes a folder without links.",
            )
        if file.stored == "special":
            raise SlipwayError(Reason.UNSAFE_PATH, f"{file.path} is not a regular file.")
        if why := odd_name(file.path):
            raise SlipwayError(
                Reason.UNSAFE_PATH,
                f"{file.path!r} cannot be taken: {why}.",
                hint="Rename the file at the source, or change `include` so that it does not name it.",
            )
        if file.problem:
            raise SlipwayError(Reason.SOURCE_PROTOCOL, file.problem, hint="Commit the file again with a current git-lfs.")
    folded: dict[str, str] = {}
    for file, _ in taken:
        if (other := folded.setdefault(file.path.lower(), file.path)) != file.path:
            raise SlipwayError(Reason.UNSAFE_PATH, f"{file.path} and {other} differ only in case.")
    for file, why in [*taken, *left]:
        if file.stored == "submodule" and why != EXCLUDED:
            raise SlipwayError(Reason.UNSAFE_PATH, f"{file.path} is a submodule; the files must be in the repository itself.")
    weights = {file.path for file, _ in taken if file.path.endswith(".safetensors")}
    if ADAPTER in {file.path for file, _ in taken} and weights <= {ADAPTER_WEIGHTS}:
        raise SlipwayError(
            Reason.NO_SAFETENSORS,
            f"{ADAPTER}: these are the weights of an adapter alone; those of the model that it changes are in another place.",
            hint="Merge the adapter into its model once: `AutoPeftModelFor….from_pretrained(folder).merge_and_unload()"
            ".save_pretrained(merged)`, then save the tokenizer there too, and name that folder.",
        )
    if not weights:
        raise _no_weights(left)
    if not any(file.path == "config.json" for file, _ in taken):
        raise SlipwayError(
            Reason.INVALID_CONFIG,
            "There is no config.json beside the weights.",
            hint="Name the folder or repository that `model.save_pretrained` wrote.",
        )


def _no_weights(left: list[tuple[SourceFile, str]]) -> SlipwayError:
    formats = [(file.path, *classify(file.path), why == EXCLUDED) for file, why in left]
    found = [
        f"{path} ({label}{', excluded' if excluded else ''})"
        for path, file_format, label, excluded in formats
        if file_format in (FileFormat.WEIGHTS, _FORBIDDEN)
    ]
    there = _some(found) or "no weight file at all"
    safetensors = [path for path, file_format, _, excluded in formats if file_format is FileFormat.WEIGHTS and not excluded]
    folders = sorted({path.rpartition("/")[0] for path in safetensors if "/" in path})
    if any("/" not in path for path in safetensors):
        return SlipwayError(
            Reason.NO_SAFETENSORS,
            f"There is neither {SINGLE} nor {INDEX} with its shards, where libraries look for weights; there is {there}.",
            hint="Write the folder with `model.save_pretrained(folder)`, which names the files as libraries look for them.",
        )
    if folders:
        top = [f"{path} ({label})" for path, file_format, label, _ in formats if file_format is _FORBIDDEN and "/" not in path]
        have = "this subfolder has" if len(folders) == 1 else "these subfolders have"
        hint = "Publish that folder as a repository of its own, or name it as the source of an `upload`."
        return SlipwayError(
            Reason.NO_SAFETENSORS,
            "There are no safetensors weights in the top folder, and weights are taken from there alone; "
            f"{have} them: {_some(folders)}." + (f" In the top folder there is {_some(top)}." if top else ""),
            hint=f"{hint} If the model is what the top folder has, {_CONVERT}." if top else hint,
        )
    return SlipwayError(Reason.NO_SAFETENSORS, f"There are no safetensors weights to take; there is {there}.")


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

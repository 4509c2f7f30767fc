"""Files that a model's settings name: none but those of the model itself.

transformers hands what stands in ``tokenizer_config.json``, ``special_tokens_map.json`` and the configurations of processors to
constructors as arguments, and some of these open the path that they get, or ask a hub for it. So a value under a name that
means a path must be the name of a file in the lock.

Published models are full of such names that nothing reads any more: where the model lay when it was trained, the cache that
it came from. Those are let through: ``LEFTOVERS`` are names that transformers overwrites or ignores for a model in a folder
(read in its source, 5.23; a test tries them). The bytes are never changed, because the lock has their digests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

from steps.core.errors import Reason, SlipwayError

# Read by transformers as settings, in any folder. Vocabularies, whose names are words of a language, are not among them.
_SETTINGS = re.compile(
    r"((generation|tokenizer|preprocessor|processor|video_preprocessor|image_processor|feature_extractor|audio_tokenizer|adapter"
    r"|decision|judge)_)?config(\.[^/]*)?\.json|special_tokens_map\.json|chat_template\.json|speaker_embeddings_path\.json"
)
# The arguments of tokenizers and processors. Their other values are arguments too, so a path is refused under any name.
_ARGUMENTS = re.compile(r"special_tokens_map\.json|.*(tokenizer|processor)_config\.json")

_MEANS_A_PATH = re.compile(
    r"(.*_)?(file|files|filename|filenames|path|paths|dir|dirs|directory|folder|folders|repo|repository|repo_id|name_or_path)"
)
# Of the library's own: what the folder was called, set anew when a model is loaded, and files that it looks for by itself.
_OVERWRITTEN = frozenset({"_name_or_path", "name_or_path"})
# Of training scripts, and of models that were merged: nothing in transformers reads these from a file.
LEFTOVERS = frozenset(
    {
        *(
            "output_dir",
            "cache_dir",
            "logging_dir",
            "log_dir",
            "save_dir",
            "work_dir",
            "checkpoint_dir",
            "data_dir",
            "image_dir",
        ),
        *(
            "data_path",
            "dataset_path",
            "train_path",
            "image_folder",
            "train_file",
            "validation_file",
            "test_file",
            "data_files",
        ),
        *("model_name_or_path", "base_model_name_or_path", "pretrained_model_name_or_path", "tokenizer_name_or_path"),
        *("teacher_name_or_path", "teacher_model_name_or_path", "model_path", "model_dir", "config_path", "checkpoint_path"),
        *("base_model_path", "pretrained_path", "lora_path", "full_tokenizer_file", "config_file", "image_path", "video_path"),
    }
)
# Arguments of a tokenizer that from_pretrained overwrites by the files that it found in the folder itself.
_FOUND_BY_LIBRARY = frozenset(
    {"tokenizer_file", "vocab_file", "merges_file", "spm_file", "sp_model_file", "special_tokens_map_file", "added_tokens_file"}
    | {"tokenizer_config_file", "chat_template_file"}
)
_FILE_OF_A_TOKENIZER = re.compile(
    r"(.*[._-])?(vocab|tokenizer|merges|added_tokens|special_tokens_map|config|template|spm|spiece|sentencepiece|bpe|tiktoken)"
    r"[^/\\]*|[0-9a-f]{40,64}(\.[0-9a-f]{40,64})?"  # the second form: a file of transformers' cache before 4.22
)
# Names of templates in a repository, of which the library takes only those that match a version.
_VERSIONED = frozenset({"fast_tokenizer_files", "configuration_files"})
_TEXTS = re.compile(r".*_tokens?|.*templates?|added_tokens_decoder|content|response_schema")
_LOOKS_LIKE_A_PATH = re.compile(r"/[^/\s]+/\S+|~/.*|.*(^|[/\\])\.\.[/\\].*|[A-Za-z]:[/\\].*|[a-z_-]+://\S*", re.DOTALL)
_SCHEMES = re.compile(r"(file:|local-dir:|hf-hub:|hf_hub:)", re.IGNORECASE)


@dataclass(frozen=True)
class _Place:
    """A value of a settings file: the keys that lead to it, and what else stands beside it."""

    keys: tuple[str, ...]
    value: object
    beside: dict[str, object]


def is_settings(path: str) -> bool:
    """Whether a file of the model is read for settings."""
    return _SETTINGS.fullmatch(path.rpartition("/")[2]) is not None


def check_named_files(path: str, settings: object, files: Set[str]) -> None:
    """Check that a settings file names no file that is not the model's own, and no other repository.

    Args:
        path: The settings file's path in the model.
        settings: What it holds.
        files: The paths of all files of the model.

    Raises:
        SlipwayError: ``UnsafePath``, naming the key.
    """
    folder, _, name = path.rpartition("/")
    own = {file.removeprefix(f"{folder}/") for file in files if not folder or file.startswith(f"{folder}/")}
    for place in _places(settings, (), {}):
        if why := _problem(name, place, own):
            raise SlipwayError(
                Reason.UNSAFE_PATH,
                f"{path}: {'.'.join(place.keys)} {why}: {str(place.value)[:200]!r}.",
                hint="Remove the key, or name a file of the model; or save the model again with `save_pretrained(folder)`.",
            )


def _places(value: object, keys: tuple[str, ...], beside: dict[str, object]) -> Iterator[_Place]:
    """Every string of a document, and what stands under the names of constructors' positional arguments."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*keys, key), value)
    elif isinstance(value, list):
        if keys and keys[-1] == "init_inputs" and value:
            yield _Place(keys, value, beside)
        for item in value:
            yield from _places(item, keys, beside)
    elif isinstance(value, str) and value and keys:
        yield _Place(keys, value, beside)


def _problem(name: str, place: _Place, own: Set[str]) -> str:
    """What is wrong with a value; empty: nothing."""
    key, text = place.keys[-1].lower(), str(place.value)
    arguments = _ARGUMENTS.fullmatch(name) is not None
    if key == "init_inputs":
        return "gives a constructor arguments without names"
    if text in own or any(_TEXTS.fullmatch(each) for each in place.keys) or key in _OVERWRITTEN or key in LEFTOVERS:
        return ""
    if key in _VERSIONED:
        return "names a file in another folder" if "/" in text or "\\" in text else ""
    if key in _FOUND_BY_LIBRARY and name == "tokenizer_config.json" and len(place.keys) == 1:
        return "" if _is_leftover_file(key, text, own) else "names a file that is not in the model"
    if _MEANS_A_PATH.fullmatch(key):
        return "names a file or a repository that is not in the model"
    if arguments and key in ("vocab", "merges"):
        return "names a file that is not in the model"
    if key == "mecab_option" and "/" in text:
        return "names a file that is not in the model"
    if key == "backbone" and re.search(r"[/\\:]", text) and not isinstance(place.beside.get("backbone_config"), dict):
        return "names another repository"
    if _SCHEMES.match(text) or (name == "special_tokens_map.json" and _LOOKS_LIKE_A_PATH.fullmatch(text)):
        return "leads out of the model"
    if arguments and re.search(r"(^|[/\\])\.\.[/\\]", text):
        return "leads out of the model"
    return ""


def _is_leftover_file(key: str, text: str, own: Set[str]) -> bool:
    """Whether this is the path of a tokenizer's file as it was on another machine, and the library finds its own instead."""
    name = re.split(r"[/\\]", text)[-1]
    if not _FILE_OF_A_TOKENIZER.fullmatch(name):
        return False
    # Not every class looks for every file; with a tokenizer.json, or the file itself in the folder, the value is not opened.
    return key not in ("vocab_file", "merges_file", "spm_file", "sp_model_file") or name in own or "tokenizer.json" in own

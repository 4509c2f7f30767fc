"""``choose`` on listings alone: which files are taken, and that a hostile listing yields a reason and never anything else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.errors import Reason, SlipwayError
from steps.core.lock import SAFE_PATH
from steps.gate.formats import FORBIDDEN_NAMES, FileFormat, classify
from steps.sources.choose import Choice, SourceFile, choose, printable


def listing(*paths: str) -> list[SourceFile]:
    return [SourceFile(path, 10, "git", str(number)) for number, path in enumerate(paths)]


def paths(choice: Choice) -> set[str]:
    return {file.path for file in choice.files}


BASE = ("config.json", "model.safetensors")


def test_subfolders_and_unknown_formats_are_left() -> None:
    choice = choose(listing(*BASE, "onnx/model.onnx", "sub/vocab.txt", ".gitattributes", "notes.xyz", "train.py"))
    assert paths(choice) == set(BASE)
    assert {file.path: why for file, why in choice.left} == {
        "onnx/model.onnx": "ONNX",
        "sub/vocab.txt": "in a subfolder",
        ".gitattributes": "of an unknown format",
        "notes.xyz": "of an unknown format",
        "train.py": "Python code",
    }


def test_shards_without_an_index_are_no_weights() -> None:
    with pytest.raises(SlipwayError, match=r"model-00001-of-00002\.safetensors \(safetensors\)") as caught:
        choose(listing("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"))
    assert caught.value.reason is Reason.NO_SAFETENSORS


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("names", "says", "hint"),
    [
        (("sub/model.safetensors", "sub/config.json"), "this subfolder has them: sub.", "source of an `upload`"),
        (
            ("train.txt", "a/b/model.safetensors", "c/x.safetensors"),
            "these subfolders have them: a/b, c.",
            "Publish that folder",
        ),
        (("pytorch_model.bin", "1_Dense/model.safetensors"), "In the top folder there is pytorch_model.bin", "convert it once"),
        (("weights.safetensors",), "neither model.safetensors nor model.safetensors.index.json", "save_pretrained"),
    ],
)
def test_weights_in_another_place_are_named(names: tuple[str, ...], says: str, hint: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        choose(listing("config.json", *names))
    assert caught.value.reason is Reason.NO_SAFETENSORS
    assert says in caught.value.message
    assert "There are no safetensors weights; " not in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.fault("refused")
def test_excluded_weights_are_shown_as_excluded() -> None:
    with pytest.raises(SlipwayError, match=r"model\.safetensors \(safetensors, excluded\)"):
        choose(listing(*BASE), exclude=("*.safetensors",))


@pytest.mark.fault("refused")
@pytest.mark.parametrize("include", [(), ("adapter_model.safetensors",)])
@pytest.mark.parametrize("config", [(), ("config.json",)])
def test_an_adapter_alone_is_refused(include: tuple[str, ...], config: tuple[str, ...]) -> None:
    with pytest.raises(SlipwayError, match=r"adapter_config\.json: these are the weights of an adapter alone") as caught:
        choose(listing("adapter_config.json", "adapter_model.safetensors", *config), include)
    assert caught.value.reason is Reason.NO_SAFETENSORS
    assert "merge_and_unload" in caught.value.hint


@pytest.mark.fault("accepted")
def test_an_adapters_settings_beside_a_model_are_taken() -> None:
    choice = choose(listing("adapter_config.json", "adapter_model.safetensors", *BASE))
    assert paths(choice) == {"adapter_config.json", *BASE}


def test_excluding_the_single_file_lets_the_shards_in() -> None:
    files = listing(*BASE, "model.safetensors.index.json", "model-00001-of-00001.safetensors")
    assert "model-00001-of-00001.safetensors" not in paths(choose(files))
    assert paths(choose(files, exclude=("model.safetensors",))) == {
        "config.json",
        "model.safetensors.index.json",
        "model-00001-of-00001.safetensors",
    }


def test_exclude_is_stronger_than_include() -> None:
    assert "a.txt" not in paths(choose(listing(*BASE, "a.txt"), include=("a.txt",), exclude=("a.*",)))


@pytest.mark.parametrize("path", ["tokenizer.bin", "x.PY", "a.tar.gz", "weights.H5", "archive.zip"])
def test_a_format_that_holds_code_cannot_be_included(path: str) -> None:
    with pytest.raises(SlipwayError, match=re.escape(path)) as caught:
        choose(listing(*BASE, path), include=(path,))
    assert caught.value.reason is Reason.FORBIDDEN_FORMAT


@pytest.mark.parametrize(
    "path",
    [
        *("../up.txt", "/etc/x.txt", "a/../b.txt", "a//b.txt", "a/.git/x.txt", ".hidden.txt", "-rf.txt", "a" * 240 + ".txt"),
        *("a b.txt", "a\nb.txt", "$HOME.txt", "ü.txt", "x\\y.txt", "nul\0.txt", "{{x}}.txt"),
    ],
)
def test_an_ambiguous_path_is_never_taken(path: str) -> None:
    with pytest.raises(SlipwayError, match="cannot be taken: its name") as caught:
        choose(listing(*BASE, path), include=("*.txt",))
    assert caught.value.reason is Reason.UNSAFE_PATH
    assert path not in paths(choose(listing(*BASE, path), exclude=(path.replace("[", "[[]"),)))


@pytest.mark.fault("refused")
def test_too_many_files_are_refused() -> None:
    with pytest.raises(SlipwayError, match="more than 100000 files at the source") as caught:
        choose([SourceFile(f"{number}.png", 1, "git", "ref") for number in range(100_001)])
    assert caught.value.reason is Reason.TOO_LARGE
    with pytest.raises(SlipwayError, match="10002 files would be taken") as caught:
        choose(listing(*BASE, *(f"{number}.txt" for number in range(10_000))))
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    ("names", "usual"),
    [
        (("README.md", "readme.md", "ReadMe.md"), "README.md"),
        (("Vocab.txt", "vocab.txt", "VOCAB.txt"), "vocab.txt"),
        (("LICENSE", "license.md", "License.md"), "license.md"),
        (("A.json", "a.JSON", "a.json"), "a.json"),
    ],
)
def test_of_twins_the_usual_spelling_is_taken(names: tuple[str, ...], usual: str) -> None:
    choice = choose(listing(*BASE, *names))
    assert {path for path in paths(choice) if path.lower() == usual.lower()} == {usual}
    assert usual in paths(choice)


@pytest.mark.fault("accepted")
def test_a_problem_of_a_left_file_counts_not() -> None:
    broken = SourceFile("docs/a.json", 1, "git", "ref", problem="docs/a.json is broken.")
    assert choose([*listing(*BASE), broken]).left == ((broken, "in a subfolder"),)
    with pytest.raises(SlipwayError, match=r"docs/a\.json is broken") as caught:
        choose([*listing(*BASE), broken], include=("docs/*",))
    assert caught.value.reason is Reason.SOURCE_PROTOCOL


def test_a_message_names_eight_files_at_most() -> None:
    with pytest.raises(SlipwayError, match="and 11 more"):
        choose(listing("config.json", *(f"{number}.bin" for number in range(19))))


@given(st.binary())
def test_printable_names_have_no_control_sequences(name: bytes) -> None:
    assert printable(name).isprintable()


@given(st.binary(min_size=1).filter(lambda name: not SAFE_PATH.fullmatch(name.decode("latin-1"))))
def test_printable_bytes_never_become_a_safe_path(name: bytes) -> None:
    assert not SAFE_PATH.fullmatch(printable(name))


names = st.one_of(
    st.sampled_from(["config.json", "model.safetensors", "model.safetensors.index.json", "model-00001-of-00002.safetensors"]),
    st.from_regex(r"[a-zA-Z.-]{1,8}(/[a-z.]{1,4})?\.(json|txt|safetensors|bin|py|md)", fullmatch=True),
    st.sampled_from([f"x{pattern[1:]}".replace("*", "x") for pattern in FORBIDDEN_NAMES]),
)
files = st.builds(
    SourceFile, names, st.integers(0, 100), st.sampled_from(["git", "lfs", "symlink", "submodule", "special"]), st.just("ref")
)
patterns = st.lists(st.sampled_from(["*", "*.json", "*.txt", "*/*", "model*", "config.json"]), max_size=2).map(tuple)


@pytest.mark.slow
@given(st.lists(files, unique_by=lambda file: file.path), patterns, patterns)
def test_whatever_is_listed_what_is_taken_is_safe(
    listed: list[SourceFile], include: tuple[str, ...], exclude: tuple[str, ...]
) -> None:
    try:
        choice = choose(listed, include, exclude)
    except SlipwayError as error:
        if error.reason in (Reason.NO_SAFETENSORS, Reason.FORBIDDEN_FORMAT, Reason.UNSAFE_PATH, Reason.INVALID_CONFIG):
            return
        raise
    assert sorted(file.path for file, _ in [*choice.taken, *choice.left]) == sorted(file.path for file in listed)
    assert {"config.json"} < paths(choice)
    for file in choice.files:
        assert SAFE_PATH.fullmatch(file.path)
        assert file.stored in ("git", "lfs")
        assert classify(file.path)[0] in (FileFormat.WEIGHTS, FileFormat.TEXT)

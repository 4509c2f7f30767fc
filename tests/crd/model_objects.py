"""Models as somebody may write them: right ones, wrong in one place each, and any mixture.

Of the metadata only the name is tried: the rules for labels and ``finalizers`` are Kubernetes' own.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import product
from typing import Any

from hypothesis import strategies as st

from steps.tasks.table import ALIASES, TASKS

JSON = dict[str, Any]
SERVICES = [*TASKS, *ALIASES]
# All pairs of all would be a thousand.
SOME = [*ALIASES, *ALIASES.values(), "feature-extraction"]

# Fields by their paths: values that are right (the first is in every model that is otherwise right), and values that
# are wrong or on the border. Whether a value is right depends on the rest, too: nothing here says what the verdict must be.
RIGHT: dict[tuple[str, ...], list[Any]] = {
    ("apiVersion",): ["slipway.dev/v1alpha1"],
    ("kind",): ["Model"],
    ("metadata", "name"): ["a-b", "0", "x" * 39, "x" * 40],
    ("spec", "sourceKind"): ["git_lfs", "upload"],
    ("spec", "source"): [
        "https://example.org/a/b",
        "https://huggingface.co/org/model",
        "https://example.org:8443/a.git",
        "http://192.0.2.10:8418/digits.git",
        "https://[2001:db8::1]/a%20b/~c",
        "https://a-b.c--d.example//x/",
        "https://example.org/!&'()*+,;=:@-",
        "https://example.org/" + "a" * 2028,
    ],
    ("spec", "services"): [
        ["text-classification"],
        ["ner", "feature-extraction"],
        ["image-classification"],
        ["auto"],
        list(TASKS)[:8],
    ],
    ("spec", "framework"): ["transformers"],
    ("spec", "name"): ["A name", "", "größe 😀 {x}\u2028", "😀" * 96],
    ("spec", "revision"): ["main", "", "refs/heads/x", "a@b", "0123abcd" * 5, "_x+y=z-", "v" * 200],
    ("spec", "include"): [["*.json"], [], ["[a-z]?/x", "!onnx/*", "a=b@c+d", "-x"], ["x"] * 32, ["y" * 200, "y"]],
    ("spec", "exclude"): [["*.bin"], [], ["*", "*"]],
    ("spec", "expectedSetDigest"): ["0123456789abcdef" * 4, ""],
    ("spec", "builder"): ["plan", "local", "oci", "cloudbuild"],
}
PLACES = ["", "./model", "/srv/größe", "gs://bucket/prefix", "a b", "file:///x", "😀", "a\u2028b", "/" + "a" * 2047]
WRONG: dict[tuple[str, ...], list[Any]] = {
    ("metadata", "name"): ["x" * 41, "x" * 254, "a.b", "A", "é"],
    ("spec", "source"): [
        *PLACES,
        "https://example.org/" + "a" * 2029,
        "/" + "é" * 2048,
        *("https://example.org", "https://example.org/", "https:///x", "https://h//", "HTTPS://h/x", "ssh://h/x", "git@h:x"),
        *("https://u:p@h/x", "https://h:/x", "https://h:123456/x", "https://-h/x", "https://h-/x", "https://h..i/x"),
        *(
            "https://u%3Ap%40h/x",
            "https://h/https://u:p@g/x",
            "https://h/x%3Ftoken=y",
            "https://h/x;sig=y",
            "s3://u:p@bucket/x",
        ),
        *("u:p@h", "/x?token=y", "file:///x#y", "gs://bucket/x?a=b", "https:/u:p@h/x", "//u:p@h/x", "/x@y:z", "./u:p@h"),
        *("https://[::1/x", "https://[x]/x", "https://h/%4", "https://h/x?y", "https://h/x#y", "--upload-pack=x"),
    ],
    ("spec", "services"): [
        *([one, other] for one, other in product(SOME, SOME)),
        *(["auto", "ner"], ["ner", "auto"], ["auto", "auto"], ["Auto"]),
        *([], SERVICES, SERVICES * 2, [*TASKS, *TASKS, *TASKS], [None], [1], [["ner"]], ["question_answering"]),
    ],
    ("spec", "name"): ["😀" * 97, "from https://u:p@h/x", "x&token=y", "see https://h/@x", "a: by b@c"],
    ("spec", "revision"): ["v" * 201, "-v", "/v", ".v"],
    ("spec", "include"): [["x?token=y"], ["x?y=z"], ["x"] * 33, ["y" * 201], [""], [None], [1], ["a b"]],
    ("spec", "exclude"): [["x"] * 33, ["y" * 201], [""]],
    ("spec", "expectedSetDigest"): ["f" * 63, "f" * 65, "F" * 64, "g" * 64],
}
WRONG_TYPES: list[Any] = [None, True, 0, 1.5, "", "x", [], [None], ["x"], {}, {"a": "b"}]
UNKNOWN = ["zzz", "Source", "source_kind", "expected_set_digest", ""]
INSERTED = (
    *"\x00\n\t\r\x1b\x7f\x85\u2028\u202e\ufeff\ufffd {}[]()<>@?#%$&'\"\\/|^`~*!+=,;:._-éß😀A0a",
    *("//", "{{", "}}", "%0a", "%zz", "a:b@", "/../", "--", "\r\n", "?x=1", "::", "[::1]"),
)


def right(**spec: Any) -> JSON:
    """A model that is right."""
    model: JSON = {"metadata": {"labels": {"team": "a"}}, "spec": {}}
    for path, values in RIGHT.items():
        put(model, path, values[0])
    model["spec"].update(spec)
    return model


def put(model: JSON, path: tuple[str, ...], value: Any) -> None:
    """Set one field; a part on the way to it that is not a mapping stays as it is."""
    for part in path[:-1]:
        model = model.get(part, {})
    if isinstance(model, dict):
        model[path[-1]] = deepcopy(value)


def take(model: JSON, path: tuple[str, ...]) -> None:
    """Remove one field."""
    for part in path[:-1]:
        model = model.get(part, {})
    if isinstance(model, dict):
        model.pop(path[-1], None)


def changed_once() -> Iterator[JSON]:
    """Right models with one thing changed: every value of the tables, every text put into every field at both ends and inside,
    every field missing, misspelt, of every wrong type, and unknown."""
    bases = [right(), right(sourceKind="upload", source="a/b", revision="")]
    for base in bases:
        for path, value in changes():
            yield changed(base, path, value)
        for path in [*RIGHT, ("metadata",), ("spec",)]:
            model = deepcopy(base)
            take(model, path)
            yield model
        for name, other in (("sourceKind", "source_kind"), ("expectedSetDigest", "expected_set_digest"), ("source", "Source")):
            model = deepcopy(base)
            model["spec"][other] = model["spec"].pop(name)
            yield model
    for path, values in RIGHT.items():
        text, wrap = (values[0][0], True) if isinstance(values[0], list) else (values[0], False)
        for at, inserted in product((0, len(text) // 2, len(text)), INSERTED):
            made = text[:at] + inserted + text[at:]
            yield changed(bases[0], path, [made] if wrap else made)
    for at, inserted in product((0, 1, 3), INSERTED):
        yield changed(bases[1], ("spec", "source"), "a/b"[:at] + inserted + "a/b"[at:])


def changes() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Fields and values for them that are worth a try."""
    for table in (RIGHT, WRONG):
        yield from ((path, value) for path, values in table.items() for value in values)
    yield from product([*RIGHT, ("metadata",), ("spec",)], WRONG_TYPES)
    yield from (((*place, name), "x") for place, name in product([(), ("metadata",), ("spec",)], UNKNOWN))


def changed(base: JSON, path: tuple[str, ...], value: Any) -> JSON:
    model = deepcopy(base)
    put(model, path, value)
    return model


@st.composite
def mixtures(draw: st.DrawFn) -> JSON:
    """Any right values together, some of them left out, and up to three changes."""
    model: JSON = {"metadata": {}, "spec": {}}
    for path, values in RIGHT.items():
        if path[0] != "spec" or path[1] in ("sourceKind", "source", "services") or draw(st.booleans()):
            put(model, path, draw(st.sampled_from(values)))
    if model["spec"]["sourceKind"] == "upload":
        model["spec"]["source"] = draw(st.sampled_from(PLACES))
        model["spec"].pop("revision", None)
    for _ in range(draw(st.integers(0, 3))):
        path, value = draw(st.sampled_from(CHANGES))
        if isinstance(value, str):
            at = draw(st.integers(0, len(value)))
            value = value[:at] + draw(st.sampled_from(["", "", *INSERTED]) | st.text(max_size=3)) + value[at:]
        put(model, path, value)
    return model


CHANGES = list(changes())

"""Reading a ``model.yaml``: every error names the file, the line, and what to write instead.

Besides the rules of the types (``crd.types``), the address is checked for what this machine may contact.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.reader import ReaderError

from crd.types import Model
from steps.core.errors import Reason, SlipwayError
from steps.core.user_file import read_user_text
from steps.core.wording import explain

MAX_MANIFEST = 1 << 20  # bytes
MAX_NODES = 10_000  # with each alias counted as often as it is used: a few lines can stand for billions of nodes
FieldPath = tuple[str | int, ...]


def read_manifest(path: Path) -> Model:
    """Read the one ``Model`` in a YAML file. Raises ``InvalidManifest``."""
    try:
        return parse_manifest(read_user_text(path, MAX_MANIFEST, Reason.INVALID_MANIFEST), str(path))
    except FileNotFoundError:
        raise _invalid(f"There is no file {path}.", "Name the manifest with -f model.yaml.") from None


def parse_manifest(text: str, name: str) -> Model:
    """As ``read_manifest``, from a text; messages call it ``name``."""
    if len(text) > MAX_MANIFEST:
        raise _invalid(f"{name} is larger than {MAX_MANIFEST} bytes.")
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
        if len(nodes) != 1:
            raise _invalid(f"{name} has {len(nodes)} YAML documents; one Model is expected.")
        if not isinstance(nodes[0], yaml.MappingNode):
            raise _invalid(f"{name} is not a mapping of fields to values; one Model is expected.")
        lines = _lines(nodes[0], name)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _invalid(f"{name}{_mark(error)} is not YAML: {_yaml_problem(error)}.") from None
    except (ValueError, AttributeError) as error:  # raised by PyYAML for `2026-13-45` and the like
        raise _invalid(f"{name} has a value that YAML cannot read: {error}. Put it in quotes if it is text.") from None
    except RecursionError:
        raise _invalid(f"{name} is nested too deeply.") from None
    try:
        model = Model.model_validate(value)
    except ValidationError as error:
        raise _explain(error.errors(), lines, name) from None
    if model.spec.source:
        try:
            model.spec.source_kind.source.check_address(model.spec.source)
        except SlipwayError as error:
            raise _invalid(
                f"{name}, line {_line(('spec', 'source'), lines)}: spec.source: {error.message} {error.hint}"
            ) from None
    return model


def _lines(root: yaml.Node, name: str) -> dict[FieldPath, int]:
    """The line (from 1) of each key and list item by its path; a key that appears twice is refused."""
    found: dict[FieldPath, int] = {(): root.start_mark.line + 1}

    def walk(node: yaml.Node, path: FieldPath) -> None:
        if len(found) > MAX_NODES:
            raise _invalid(f"{name} has more than {MAX_NODES} values.")
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _invalid(f"{name}, line {key.start_mark.line + 1}: the name of a field must be text.")
                here = (*path, str(key.value))
                if here in found:
                    raise _invalid(f"{name}, line {key.start_mark.line + 1}: {_dotted(here)} appears twice.")
                found[here] = key.start_mark.line + 1
                walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                found[(*path, index)] = item.start_mark.line + 1
                walk(item, (*path, index))

    walk(root, ())
    return found


def _explain(problems: list[ErrorDetails], lines: dict[FieldPath, int], name: str) -> SlipwayError:
    """One error with all problems, each in a line that names the manifest's."""
    messages = []
    for problem in problems:
        path: FieldPath = problem["loc"]
        messages.append(f"{name}, line {_line(path, lines)}: {_sentence(problem, path)}")
    return _invalid("\n".join(messages))


def _line(path: FieldPath, lines: dict[FieldPath, int]) -> int:
    """The line of a field, or of the nearest field around it where it has none: it is missing, or merged in (``<<``)."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _sentence(problem: ErrorDetails, path: FieldPath) -> str:
    """What is wrong with the field at this path."""
    where = _dotted(path)
    match problem["type"]:
        case "missing":
            return f"{where} is missing."
        case "extra_forbidden":
            known = _known_fields(path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            return f"there is no field {where}." + (f" Did you mean {near[0]}?" if near else f" Known: {', '.join(known)}.")
        case _:
            return f"{where}: {explain(problem)}."


def _known_fields(path: FieldPath) -> list[str]:
    """The names of the fields that the mapping at this path can have, as they are written in YAML."""
    model: type[BaseModel] = Model
    for part in path:
        for name, field in model.model_fields.items():
            if part in (name, field.alias) and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                model = field.annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def _mark(error: yaml.YAMLError) -> str:
    """Where it is, as a part of a sentence; empty where the parser does not say."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f", line {mark.line + 1}, column {mark.column + 1}," if mark else ""


def _yaml_problem(error: yaml.YAMLError) -> str:
    """The parser's own words on what it found, and in other words what people get wrong most."""
    problem = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
    if "\\t" in problem:
        return "a tab stands where YAML allows spaces alone"
    if isinstance(error, ReaderError):
        return f"it has the character {error.character:#x}, which no text has" if isinstance(error.character, int) else problem
    context = getattr(error, "context", None)
    return f"{problem} {context}" if context else problem


def _dotted(path: FieldPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".") or "the manifest"


def _invalid(message: str, hint: str | None = None) -> SlipwayError:
    return SlipwayError(Reason.INVALID_MANIFEST, message, hint=hint)

"""Which classes of transformers want a library beyond what every service has, written down like the tables of its auto classes.

A model that transformers knows is not yet one that can be opened: its processor may be made of torchvision, of which there is
no build for every machine, its backbone may come from timm, or its tokenizer may be a wrapper of SentencePiece. That follows
from ``config.json``, so it is told before weights move. What a processor's own file says is seen by the loader alone: a LLaVA
with Pixtral's processor, or a BERT with a tokenizer for Japanese, is refused there.

``make pins`` writes ``optional_libraries.json`` anew, with the versions; a test proves it fresh.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steps.tasks import architectures

FILE = Path(__file__).with_name("optional_libraries.json")
# The parts of a model by their tables here, in words: what opens beside the weights, then the model itself.
PARTS = {
    "tokenizer": "tokenizer",
    "image_processor": "picture processor",
    "feature_extractor": "sound processor",
    "processor": "processor",
    "model": "class",
    "backbone": "backbone",
}
# Every service has torch; whatever shows pictures to a model has Pillow, which transformers calls vision.
ALWAYS = frozenset({"torch", "vision", "tokenizers"})


@functools.cache
def tables() -> dict[str, dict[str, Any]]:
    """``classes``: libraries by the class that wants them. One table for each of ``PARTS``: such classes by model type.

    ``backbone`` has the class that a model's backbone is of unless ``config.json`` names another.
    """
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
    return found


def missing(name: str, packages: frozenset[str]) -> str:
    """What a class needs that is not among ``packages``, in words; empty if nothing. Names of packages are in lower case."""
    lacks = [library for library in tables()["classes"].get(name, ()) if library not in packages]
    return f"{name} needs {' and '.join(lacks)}" if lacks else ""


def misses(part: str, model_type: object, packages: frozenset[str]) -> str:
    """The same for a part of a model of this type."""
    name = tables()[part].get(model_type) if isinstance(model_type, str) else None
    return missing(name, packages) if name else ""


def inner_types(config: Mapping[str, Any]) -> set[str]:
    """The types of the models inside a model (``backbone_config``, ``vision_config``, ``encoder``, …), at any depth."""
    found: set[str] = set()
    waiting: list[Any] = list(config.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            if isinstance(value.get("model_type"), str):
                found.add(value["model_type"])
        elif isinstance(value, list):
            waiting += [each for each in value if isinstance(each, dict)]
    return found


def from_transformers() -> dict[str, dict[str, Any]]:
    """The tables as the installed library has them."""
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES, MODEL_MAPPING_NAMES
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    wanted = _wanted()
    mappings: dict[str, Mapping[str, Any]] = {
        "tokenizer": TOKENIZER_MAPPING_NAMES,
        "image_processor": IMAGE_PROCESSOR_MAPPING_NAMES,
        "feature_extractor": FEATURE_EXTRACTOR_MAPPING_NAMES,
        "processor": PROCESSOR_MAPPING_NAMES,
        "model": {**MODEL_FOR_BACKBONE_MAPPING_NAMES, **MODEL_MAPPING_NAMES},
    }
    found: dict[str, dict[str, Any]] = {
        part: {key: name for key, value in mapping.items() if (name := _least(value, wanted))}
        for part, mapping in mappings.items()
    }
    found["backbone"] = _usual_backbones(found["model"])
    met = {name for table in found.values() for name in table.values()}
    met |= {name for table in architectures.from_transformers().values() for names in table.values() for name in names}
    return {"classes": {name: sorted(wanted[name]) for name in met & wanted.keys()}, **found}


def _least(value: Any, wanted: Mapping[str, set[str]]) -> str | None:
    """Of the classes for a model type (torchvision's and Pillow's, say) the one that wants least; None if it wants nothing."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    names = [name for name in values if name]
    best = min(names, key=lambda name: len(wanted.get(name, ())), default=None)
    return best if best in wanted else None


def _wanted() -> dict[str, set[str]]:
    """Libraries by class: what transformers' own ``@requires`` and file names say, and what constructors insist on."""
    from transformers.utils.import_utils import define_import_structure

    models = _models()
    found: dict[str, set[str]] = {}
    for libraries, modules in define_import_structure(str(models / "__init__.py")).items():
        for module, names in modules.items():
            found.update({name: set(libraries) for name in names if not module.rpartition(".")[2].startswith("video_")})
    for folder in sorted(path for path in models.iterdir() if path.is_dir()):
        for name, libraries in _insisted(folder).items():
            if name in found:
                found[name] |= libraries
    return {name: libraries - ALWAYS for name, libraries in found.items() if libraries - ALWAYS}


def _insisted(folder: Path) -> dict[str, set[str]]:
    """Libraries by class that its constructor, or that of a class which it makes, raises ``ImportError`` without."""
    texts = [path.read_text() for path in folder.glob("*.py") if not path.name.startswith(("modular_", "convert_"))]
    if not any("requires_backends(" in each or "ImportError" in each for each in texts):
        return {}
    trees = [ast.parse(each) for each in texts]
    classes = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    makers = {
        name: next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
        for name, node in classes.items()
    }
    found = {name: _insists(maker) for name, maker in makers.items() if maker}
    uses = {
        name: {each.id for part in (makers[name], *node.bases) if part for each in ast.walk(part) if isinstance(each, ast.Name)}
        for name, node in classes.items()
    }
    grown = True
    while grown:
        grown = False
        for name, used in uses.items():
            more = set().union(*(found.get(each, set()) for each in used)) - found.get(name, set())
            if more:
                found[name] = found.get(name, set()) | more
                grown = True
    return found


def _insists(maker: ast.FunctionDef) -> set[str]:
    """The libraries that a constructor cannot do without, in the ways in which transformers writes that."""
    found: set[str] = set()
    for node in ast.walk(maker):
        match node:
            case ast.Call(func=ast.Name("requires_backends"), args=[_, backends]):
                value = ast.literal_eval(backends)
                found.update([value] if isinstance(value, str) else value)
            case ast.If(test=ast.UnaryOp(op=ast.Not(), operand=ast.Call(func=ast.Name(test), args=[])), body=[*body]) if (
                test.startswith("is_") and test.endswith("_available") and _raises(body)
            ):
                found.add(test.removeprefix("is_").removesuffix("_available"))
            case ast.Try(body=[ast.Import(names=[ast.alias(name=name)]), *_], handlers=[handler, *_]) if _raises(handler.body):
                found.add(name.partition(".")[0])
    return found


def _raises(body: Iterable[ast.stmt]) -> bool:
    return any(isinstance(each, ast.Raise) and "ImportError" in ast.dump(each) for each in body)


def _usual_backbones(lacking: Mapping[str, str]) -> dict[str, str]:
    """By model type, the lacking class of the backbone that its configuration takes where nothing is said."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES, model_type_to_module_name

    found: dict[str, str] = {}
    for model_type in CONFIG_MAPPING_NAMES:
        module = model_type_to_module_name(model_type)
        source = _models() / module / f"configuration_{module}.py"
        if not source.exists() or not any(f'"{each}"' in source.read_text() for each in lacking):
            continue
        backbone = getattr(CONFIG_MAPPING[model_type](), "backbone_config", None)
        if backbone is not None and backbone.model_type in lacking:
            found[model_type] = lacking[backbone.model_type]
    return found


def _models() -> Path:
    import transformers

    return Path(transformers.__file__).parent / "models"


def text() -> str:
    """What the file should hold: one class or model type a line, so that a change reads well."""
    parts = []
    for name, table in from_transformers().items():
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(table[key])}" for key in sorted(table))
        parts.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"

"""Reads from the installed transformers what ``architectures.json`` and ``optional_libraries.json`` hold.

Only ``make pins`` and the tests of both files run this; it imports transformers. What a class needs is not published as data:
it follows from its ``@requires`` decorators and file names, and from what its constructor raises ``ImportError`` for.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from steps.tasks.architectures import Table

# Libraries that every service has, in transformers' names. "vision" is Pillow, which all families with images have.
ALWAYS_INSTALLED = frozenset({"torch", "vision", "tokenizers"})


def architectures_json() -> str:
    """Return what ``architectures.json`` should hold, with one model type a line."""
    return _as_text(architecture_tables())


def optional_libraries_json() -> str:
    """Return what ``optional_libraries.json`` should hold, with one class or model type a line."""
    return _as_text(optional_library_tables())


def architecture_tables() -> dict[str, Table]:
    """Return the tables of transformers' auto classes by their short name, each with lists of class names by model type."""
    from transformers.models.auto import modeling_auto

    found: dict[str, Table] = {}
    for name, table in vars(modeling_auto).items():
        if name.startswith("MODEL_FOR_") and name.endswith("_MAPPING_NAMES"):
            short = name.removeprefix("MODEL_FOR_").removesuffix("_MAPPING_NAMES")
            found[short] = {key: [value] if isinstance(value, str) else list(value) for key, value in table.items()}
    return dict(sorted(found.items()))


def optional_library_tables() -> dict[str, Mapping[str, object]]:
    """Return ``classes``, the optional libraries by class, and for each component the class that needs some by model type."""
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES, MODEL_MAPPING_NAMES
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    needed = _libraries_by_class()
    mappings: dict[str, Mapping[str, object]] = {
        "tokenizer": TOKENIZER_MAPPING_NAMES,
        "image_processor": IMAGE_PROCESSOR_MAPPING_NAMES,
        "feature_extractor": FEATURE_EXTRACTOR_MAPPING_NAMES,
        "processor": PROCESSOR_MAPPING_NAMES,
        "model": {**MODEL_FOR_BACKBONE_MAPPING_NAMES, **MODEL_MAPPING_NAMES},
    }
    tables: dict[str, dict[str, str]] = {
        component: {key: name for key, value in mapping.items() if (name := _class_with_fewest(value, needed))}
        for component, mapping in mappings.items()
    }
    tables["backbone"] = _default_backbones(tables["model"])
    listed = {name for table in tables.values() for name in table.values()}
    listed |= {name for table in architecture_tables().values() for names in table.values() for name in names}
    return {"classes": {name: sorted(needed[name]) for name in listed & needed.keys()}, **tables}


def _as_text(tables: Mapping[str, Mapping[str, object]]) -> str:
    parts = []
    for name, table in tables.items():
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(table[key])}" for key in sorted(table))
        parts.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _class_with_fewest(value: object, needed: Mapping[str, set[str]]) -> str | None:
    """Of the classes for a model type (one for torchvision, one for Pillow), the one that needs the fewest libraries.

    None if it needs none.
    """
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    names = [name for name in values if isinstance(name, str) and name]
    best = min(names, key=lambda name: len(needed.get(name, ())), default=None)
    return best if best in needed else None


def _libraries_by_class() -> dict[str, set[str]]:
    """Libraries by class: from transformers' own ``@requires`` and file names, and from the constructors."""
    from transformers.utils.import_utils import define_import_structure

    models = _models_folder()
    found: dict[str, set[str]] = {}
    for libraries, modules in define_import_structure(str(models / "__init__.py")).items():
        for module, names in modules.items():
            found.update({name: set(libraries) for name in names if not module.rpartition(".")[2].startswith("video_")})
    for folder in sorted(path for path in models.iterdir() if path.is_dir()):
        for name, libraries in _constructor_libraries(folder).items():
            if name in found:
                found[name] |= libraries
    return {name: libraries - ALWAYS_INSTALLED for name, libraries in found.items() if libraries - ALWAYS_INSTALLED}


def _constructor_libraries(folder: Path) -> dict[str, set[str]]:
    """Libraries by class without which its constructor, or that of a class which it uses, raises ``ImportError``."""
    sources = [path.read_text() for path in folder.glob("*.py") if not path.name.startswith(("modular_", "convert_"))]
    if not any("requires_backends(" in each or "ImportError" in each for each in sources):
        return {}
    trees = [ast.parse(each) for each in sources]
    classes = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    constructors = {
        name: next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
        for name, node in classes.items()
    }
    found = {name: _required_by(constructor) for name, constructor in constructors.items() if constructor}
    used_names = {
        name: {
            each.id
            for part in (constructors[name], *node.bases)
            if part
            for each in ast.walk(part)
            if isinstance(each, ast.Name)
        }
        for name, node in classes.items()
    }
    # A class needs what the classes need that its bases and its constructor name: repeated until nothing is added.
    grown = True
    while grown:
        grown = False
        for name, used in used_names.items():
            more = set().union(*(found.get(each, set()) for each in used)) - found.get(name, set())
            if more:
                found[name] = found.get(name, set()) | more
                grown = True
    return found


def _required_by(constructor: ast.FunctionDef) -> set[str]:
    """The libraries that a constructor requires, in the three ways in which transformers writes that."""
    found: set[str] = set()
    for node in ast.walk(constructor):
        match node:
            case ast.Call(func=ast.Name("requires_backends"), args=[_, backends]):
                value = ast.literal_eval(backends)
                found.update([value] if isinstance(value, str) else value)
            case ast.If(test=ast.UnaryOp(op=ast.Not(), operand=ast.Call(func=ast.Name(test), args=[])), body=[*body]) if (
                test.startswith("is_") and test.endswith("_available") and _raises_import_error(body)
            ):
                found.add(test.removeprefix("is_").removesuffix("_available"))
            case ast.Try(body=[ast.Import(names=[ast.alias(name=name)]), *_], handlers=[handler, *_]) if _raises_import_error(
                handler.body
            ):
                found.add(name.partition(".")[0])
    return found


def _raises_import_error(body: Iterable[ast.stmt]) -> bool:
    return any(isinstance(each, ast.Raise) and "ImportError" in ast.dump(each) for each in body)


def _default_backbones(needing: Mapping[str, str]) -> dict[str, str]:
    """The class of the backbone that a model type has by default, where that class needs a library; by model type."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES, model_type_to_module_name

    found: dict[str, str] = {}
    for model_type in CONFIG_MAPPING_NAMES:
        module = model_type_to_module_name(model_type)
        source = _models_folder() / module / f"configuration_{module}.py"
        if not source.exists() or not any(f'"{each}"' in source.read_text() for each in needing):
            continue
        backbone = getattr(CONFIG_MAPPING[model_type](), "backbone_config", None)
        if backbone is not None and backbone.model_type in needing:
            found[model_type] = needing[backbone.model_type]
    return found


def _models_folder() -> Path:
    import transformers

    return Path(transformers.__file__).parent / "models"

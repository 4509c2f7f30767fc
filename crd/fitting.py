"""Objects as the API server stores them, brought into the shapes of ``crd.kubernetes_objects``.

What is stored need not have the type that is declared here: a Model may be older than the CRD's schema, and Argo's own CRDs let
anything in. A part of another type counts as absent, so whoever reads an object need not ask at each field. What a Model's spec
holds stays as it is, because a wrong one must be reported (``crd.observe``).
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Required, TypeVar, cast, get_args, get_origin, get_type_hints, is_typeddict

ShapeT = TypeVar("ShapeT")
_ABSENT = object()
_EMPTY: Mapping[object, object] = {str: "", int: 0, bool: False, type(None): None}


def fit(value: object, shape: type[ShapeT]) -> ShapeT:
    """The value as a ``shape``, a TypedDict: without parts of a wrong type, and with what is required and missing as empty.

    Fields that the shape does not have are kept.
    """
    fitted = _fit(value, shape)
    return cast(ShapeT, _empty(shape) if fitted is _ABSENT else fitted)


def _fit(value: object, shape: object) -> object:
    """The value without its wrong parts, or ``_ABSENT`` where its own type is wrong."""
    if is_typeddict(shape):
        return _fit_fields(value, shape) if isinstance(value, dict) else _ABSENT
    origin, arguments = get_origin(shape), get_args(shape)
    if origin is list:
        return _present(value, arguments[0]) if isinstance(value, list) else _ABSENT
    if origin in (dict, Mapping):
        return _fit_mapping(value, arguments[1]) if isinstance(value, dict) else _ABSENT
    if origin is types.UnionType:
        return next((fitted for part in arguments if (fitted := _fit(value, part)) is not _ABSENT), _ABSENT)
    if shape is object:
        return value
    right = isinstance(value, cast(type, shape)) and (shape is bool or not isinstance(value, bool))
    return value if right else _ABSENT


def _fit_fields(value: dict[str, object], shape: object) -> dict[str, object]:
    found = dict(value)
    for name, (field, required) in _fields(shape).items():
        fitted = _fit(found.pop(name, _ABSENT), field)
        if fitted is not _ABSENT:
            found[name] = fitted
        elif required:
            found[name] = _empty(field)
    return found


def _fit_mapping(value: dict[str, object], item: object) -> dict[str, object]:
    fitted = ((key, _fit(each, item)) for key, each in value.items())
    return {key: each for key, each in fitted if each is not _ABSENT}


def _present(values: list[object], item: object) -> list[object]:
    return [fitted for each in values if (fitted := _fit(each, item)) is not _ABSENT]


@functools.cache
def _fields(shape: object) -> Mapping[str, tuple[object, bool]]:
    """The type of each field of a TypedDict, and whether the field is required."""
    hints = get_type_hints(shape, include_extras=True)
    return {name: (get_args(hint)[0], True) if get_origin(hint) is Required else (hint, False) for name, hint in hints.items()}


def _empty(shape: object) -> object:
    if is_typeddict(shape):
        return _fit_fields({}, shape)
    if get_origin(shape) is list:
        return []
    return _EMPTY.get(shape, {})

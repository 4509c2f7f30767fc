"""A package served in this process: its own ``service.py`` under BentoML's ASGI application, and a client that asks it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from steps.package.local_service import form_value
from steps.package.unpack import unpack_archive
from tests.steps.packages import Made


@contextlib.contextmanager
def served(made: Made, folder: Path) -> Iterator[TestClient]:
    """The archive unpacked, checked, imported as BentoML would, and up."""
    unpack_archive(made.context.store.read(made.archive), folder, sha256=made.digest, what="the archive")
    source = str(folder / "src")
    sys.path.insert(0, source)
    try:
        import service  # type: ignore[import-not-found]

        # BentoML counts in a registry of the whole process, which takes one service.
        service.Service.middlewares[:] = [
            each for each in service.Service.middlewares if each[0] is not service.MetricsMiddleware
        ]
        with TestClient(service.Service.to_asgi(), raise_server_exceptions=False) as client:
            yield client
    finally:
        sys.path.remove(source)
        for name in [name for name in sys.modules if name == "service" or name.split(".")[0] == "serving"]:
            del sys.modules[name]


def post(
    client: TestClient,
    values: Mapping[str, Any] | list[Mapping[str, Any]],
    path: str = "/predict",
    accept: str = "application/json",
) -> Any:
    """One call: a form if any value is a file's bytes, or JSON. In a form, a list of bytes is a field given more than once."""
    headers = {"Accept": accept}
    files = {name for name, value in values.items() if _is_file(value)} if isinstance(values, Mapping) else set()
    if not files:
        return client.post(path, json=values, headers=headers)
    assert isinstance(values, Mapping)
    parts: list[Any] = []
    for name, value in values.items():
        for each in value if name in files and isinstance(value, list) else [value]:
            parts.append((name, (f"{name}.bin", each) if isinstance(each, bytes) else (None, form_value(each))))
    return client.post(path, files=parts, headers=headers)


def _is_file(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, list) and bool(value) and isinstance(value[0], bytes))

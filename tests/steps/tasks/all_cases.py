"""Every task's case by the task's name: those of all modules here whose name ends in ``_cases``."""

from __future__ import annotations

import importlib
from pathlib import Path

from steps.tasks.table import TASKS
from tests.steps.tasks.cases import Case


def find_cases() -> dict[str, Case]:
    """Collect the ``CASES`` of the modules, in the order of the task table; those of unknown tasks come last."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*_cases.py") if path.stem != Path(__file__).stem)
    modules = [importlib.import_module(f"tests.steps.tasks.{name}") for name in names]
    cases: dict[str, Case] = {case.task: case for module in modules for case in module.CASES}
    return {name: cases[name] for name in [*(name for name in TASKS if name in cases), *(cases.keys() - TASKS.keys())]}


CASES = find_cases()

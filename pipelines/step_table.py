"""The steps of the graph by their names: what ``steps.core.graph`` names as data, here as the code that does it.

The graph knows no step, so that a step may read the graph. Whatever runs steps or describes them (the local runner, the Argo
template, the pages) takes them from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steps.archive import STEP as ARCHIVE
from steps.build import STEP as BUILD
from steps.cloudbuild import STEP as CLOUDBUILD
from steps.core.contract import Step
from steps.fetch import STEP as FETCH
from steps.load import STEP as LOAD
from steps.render import STEP as RENDER
from steps.report import STEP as REPORT
from steps.smoke import STEP as SMOKE

STEPS: Mapping[str, Step[Any, Any]] = {
    step.name: step for step in (FETCH, LOAD, RENDER, ARCHIVE, BUILD, SMOKE, CLOUDBUILD, REPORT)
}

"""The work of Slipway, step by step: fetch, load, render, archive, build, smoke, report.

Every step is a module with two pydantic models and one function, runs as ``python -m steps.NAME``, and knows nothing of
Kubernetes, Argo or the local runner: those live above, in ``crd`` and ``pipelines``.
"""

__version__ = "0.1.0"

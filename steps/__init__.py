"""The work of Slipway, step by step. A file directly in this folder is a step; everything else is in a room of its own.

Every step is a module with two pydantic models and one function, runs as ``python -m steps.NAME``, and knows nothing of
Kubernetes, Argo or the local runner, which are in ``crd`` and ``pipelines``.
"""

__version__ = "0.1.0"

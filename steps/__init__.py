"""The work of Slipway, step by step. A file directly in this folder is a step; everything else is in a room of its own.

Every step is a module with two pydantic models and one function, runs as ``python -m steps.NAME``, and knows nothing of
Kubernetes, Argo or the local runner, which are in ``crd`` and ``pipelines``.
"""

import os
import sys

__version__ = "0.1.0"
OWN = ("steps", "crd", "pipelines")


def leave_working_folder() -> None:
    """Take the working folder from the front of the search path where ``python -m steps.NAME`` has put it there.

    A file of a model, such as ``random.py``, would be imported otherwise, and run. ``python -P`` never puts it there; that is
    how Slipway starts Python. A checkout stays, because there the working folder is where Slipway is.
    """
    given = sys.orig_argv[1:]
    module = given[given.index("-m") + 1 :][:1] if "-m" in given else []
    ours = bool(module) and module[0].partition(".")[0] in OWN
    if ours and sys.path and sys.path[0] in ("", os.getcwd()) and not os.path.samefile(os.getcwd(), _root()):
        del sys.path[0]


def _root() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


leave_working_folder()

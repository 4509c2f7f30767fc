"""A step as a process: flags, signals, exit code and termination log.

``python -m steps.NAME`` and the ``slipway`` command both use it.
"""

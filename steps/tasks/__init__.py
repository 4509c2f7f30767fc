"""The task table: what Slipway can serve.

One entry a task, one module a family.
"""

"""The tasks that Slipway serves: one entry a task in a family's module, collected in ``table.py``.

The CRD's enum, ``slipway tasks``, ``auto``, docs/tasks.md and most tests follow from that table. docs/add-a-task.md says how to
add a task.
"""

"""One module for each task, named as the task.

Each defines ``Request``, ``Answer`` and ``Runner``.
"""

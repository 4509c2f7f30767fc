"""The verbs of the ``slipway`` command: one module a verb, with its flags and what it does.

``pipelines.cli`` lists the verbs and loads the module of the one that is called. ``options`` and ``watching`` are shared.
"""

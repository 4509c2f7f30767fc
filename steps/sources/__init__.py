"""Where models come from: one ``ModelSource`` for each ``sourceKind``.

``base`` has the interface.
"""

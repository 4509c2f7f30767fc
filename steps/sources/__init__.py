"""Where models come from: one class for each value of ``sourceKind``.

``base`` has the interface, and ``supported`` the table of the kinds.
"""

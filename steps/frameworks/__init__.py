"""The libraries that models are made with: one ``ModelLoader`` for each value of ``framework``.

``base`` has the interface and ``supported`` the table; the other modules are what loaders share.
"""

"""The libraries that models are made with: one ``ModelLoader`` for each ``framework``.

``base`` has the interface.
"""

"""Making the image: one interface, several builders.

``base`` has the interface.
"""

"""An image assembled without a program or a daemon: the base, the layers, the manifest.

The builder ``oci`` uses it.
"""

"""An image assembled without a program or a daemon: its base, its layers, its configuration and manifest.

The builder ``oci`` uses it. Everything beyond the base image is files, which can be written in a pod without any rights.
"""

"""Container images without a program that builds them: layers as plain tar files, put together and pushed over HTTP.

    reference ─┐
    credentials ┴► session ─► registry ─┬► base ──────┐
                                        │             ├► assembling
                             layers ─► packages ──────┘

No daemon, no root and no ``RUN``: what a service's image needs beyond its base are files, and those can be written down in
a pod without any rights. Formats: the OCI image and distribution specifications (github.com/opencontainers).
"""

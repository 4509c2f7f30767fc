"""The real input of `make run`: a model trained here, published in a repository with Git LFS, and served on loopback.

Nothing is downloaded: ``digits`` trains a small Vision Transformer on scans of handwritten
digits, ``repository`` commits its folder with the weights as LFS objects, ``forge`` serves that over HTTP in the
protocols of Git and Git LFS. The test suite uses the same forge as its server.
"""

from __future__ import annotations

"""The real input of `make run`: a model trained here, published in a repository with Git LFS, and served on loopback.

Nothing is downloaded and nothing is pretended: ``digits`` trains a small Vision Transformer on scans of handwritten
digits, ``repository`` commits its folder with the weights as LFS objects, ``forge`` serves that over HTTP in the
protocols of Git and Git LFS. The test suite publishes its own folders through the same two modules.
"""

from __future__ import annotations

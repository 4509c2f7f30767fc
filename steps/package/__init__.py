"""The archive of one service, both ways: written as a deterministic ``.tar.gz``, unpacked and started here.

The pinned versions of everything stand here too.
"""

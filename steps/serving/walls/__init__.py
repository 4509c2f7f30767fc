"""What a library may touch while a model is open: the model's files, Python, the system's libraries, a temporary folder.

``allowed`` has the list, ``landlock`` and ``audit_hook`` are the two walls that hold it, and ``raised`` puts them up.
"""

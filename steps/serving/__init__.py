"""The code that is packed into a Bento, as it stands: one module for each task, answering with a schema of ours.

These modules run in two places: beside the loader, which asks the model for the golden answer, and inside the package,
where ``service.py`` puts them behind HTTP. So they import nothing of Slipway, and nothing beyond their task's packages.
"""

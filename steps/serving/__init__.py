"""The code that is copied into every Bento: reading calls, the queue, and one module for each task.

The modules run in two places: in the step ``load``, which takes the golden answer from them, and in the package, where
``service.py`` serves them over HTTP. So they import nothing else of Slipway, and only the packages of their task.
"""

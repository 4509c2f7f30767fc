"""The reference pages of ``docs/`` that are made from the code: errors, settings, commands and the resource.

``make pages`` writes them, and a test proves that they are fresh.
"""

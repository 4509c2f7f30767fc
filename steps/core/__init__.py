"""What every step is built on: its contract, receipts, documents, errors, settings and texts.

Nothing here knows a model, a network or a library that is not always installed.
"""

"""What every step runs in: its contract, receipts, documents, errors and settings.

It knows no model and no network.
"""

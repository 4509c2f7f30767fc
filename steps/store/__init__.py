"""Where big data lives between steps: objects under keys, published whole or not at all.

``steps.core.store`` has the interface, ``supported`` the list of stores.
"""

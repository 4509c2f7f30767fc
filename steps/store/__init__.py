"""Where big data lies between steps: objects under keys, published whole or not at all.

``steps.core.store`` has the interface that steps see, ``base`` what a store is opened and checked by, ``supported`` the table.
"""

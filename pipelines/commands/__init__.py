"""What each verb of the ``slipway`` command does.

``pipelines.cli`` reads the flags and calls these.
"""

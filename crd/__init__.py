"""The ``Model`` resource: its types, and how a manifest is read."""

"""The ways to make the image of a service: one interface in ``base``, one table in ``supported``.

To add a builder, follow ``docs/add-a-builder.md``.
"""

"""Everything about container images.

``description`` says what an image of a service holds, for every builder.
"""

"""Everything about container images: what they hold, and the ways to build and push them.

``description`` says what the image of a service holds, for every builder; ``builders`` has the table of builders.
"""

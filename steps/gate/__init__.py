"""What may enter: formats, weights and JSON files, each checked before any library reads it.

The gate is a list of what is allowed, not of what is forbidden: a file that no rule allows is refused.
"""

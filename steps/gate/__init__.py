"""What may enter: addresses, paths, formats, weights and configuration, each checked before anything reads it for real.

The gate is a list of what is allowed, never of what is forbidden; a file that no rule lets in stays outside.
"""

"""How a run looks in a terminal, in a log and for a program.

Nothing here decides anything.
"""

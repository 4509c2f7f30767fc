"""How a run looks in a terminal, in a log and for a program.

Nothing here decides anything; progress goes to standard error and results to standard output, so that a pipe gets only results.
"""

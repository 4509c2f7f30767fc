"""What is missing on this machine and in the cluster, and the command that fixes it.

Each check stands alone, changes nothing and has a time limit.
"""

"""Runs in the cluster and their steps, as a person follows them.

It stands on ``crd.kubernetes_client``.
"""

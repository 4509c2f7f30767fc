"""Runs in the cluster and their steps, as a person follows them, read with ``crd.kubernetes_client``."""

"""The parts of Argo that Slipway stands on, and the commands that install the versions that Slipway is tested with."""

from __future__ import annotations

INSTALL_WORKFLOWS = (
    "kubectl create namespace argo; kubectl apply --server-side -n argo "
    "-f https://github.com/argoproj/argo-workflows/releases/download/v3.7.15/install.yaml"
)
INSTALL_EVENTS = (
    "kubectl create namespace argo-events; kubectl apply --server-side "
    "-f https://raw.githubusercontent.com/argoproj/argo-events/v1.9.10/manifests/install.yaml"
)

"""Rights in the cluster: one service account for each part, with only the rights that this part needs.

The steps' account has no rights at all. Argo's executor, beside the step in the same pod, reports results under an account of
its own, whose token the step's container does not get.
"""

from __future__ import annotations

from collections.abc import Sequence

from crd.kubernetes_objects import Manifest
from pipelines.names import (
    EVENT_SOURCE_ACCOUNT,
    EXECUTOR_ACCOUNT,
    LABELS,
    OPERATOR_ACCOUNT,
    SENSOR_ACCOUNT,
    STEPS_ACCOUNT,
)

# Argo Events makes these pods and has no field for the token, so the account must allow it.
MOUNTED = (SENSOR_ACCOUNT, EVENT_SOURCE_ACCOUNT)

Rule = tuple[str, str, Sequence[str]]  # API group, resource, verbs

RULES: dict[str, tuple[Rule, ...]] = {
    STEPS_ACCOUNT: (),
    EXECUTOR_ACCOUNT: (("argoproj.io", "workflowtaskresults", ("create", "patch")),),
    SENSOR_ACCOUNT: (("argoproj.io", "workflows", ("create",)),),
    EVENT_SOURCE_ACCOUNT: (("slipway.dev", "models", ("get", "list", "watch")),),
    OPERATOR_ACCOUNT: (
        ("slipway.dev", "models", ("get", "list", "watch", "patch")),
        ("slipway.dev", "models/status", ("patch",)),
        ("argoproj.io", "workflows", ("get", "list", "watch", "create", "patch")),
        ("", "events", ("create",)),
    ),
}


def access() -> list[Manifest]:
    """Return the service accounts, roles and bindings, without a namespace: it is given when they are applied."""
    return [manifest for account, rules in RULES.items() for manifest in _account(account, rules)]


def _account(name: str, rules: Sequence[Rule]) -> list[Manifest]:
    metadata = {"name": name, "labels": LABELS}
    found: list[Manifest] = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            # Only pods that use the API server mount a token, and say so in their own spec where they can.
            "automountServiceAccountToken": name in MOUNTED,
        }
    ]
    if rules:
        found.append(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": metadata,
                "rules": [{"apiGroups": [group], "resources": [what], "verbs": list(verbs)} for group, what, verbs in rules],
            }
        )
        found.append(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name}],
            }
        )
    if name == EXECUTOR_ACCOUNT:
        # Argo mounts the Secret of this name for the executor where the pod itself mounts no token.
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/service-account-token",
                "metadata": {
                    "name": f"{name}.service-account-token",
                    "labels": LABELS,
                    "annotations": {"kubernetes.io/service-account.name": name},
                },
            }
        )
    return found

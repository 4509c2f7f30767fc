"""The operator in the cluster: one pod that may be lost at any time, in the namespace that it serves.

Two at once would do no harm (every write is conditional, every name a function of what it is for) and no good either:
one replica, and the old one goes before the new one comes.
"""

from __future__ import annotations

from typing import Any

from pipelines.names import IMAGE, LABELS, NAME_LABEL, OPERATOR, OPERATOR_ACCOUNT, USER_ID
from pipelines.pod_security import CONTAINER_SECURITY
from steps import __version__

PORT = 8080  # of kopf's /healthz, named in the image's entry point


def operator_manifests(version: str = __version__) -> list[dict[str, Any]]:
    """The Deployment, without a namespace: whoever applies it names it. ``version`` is the tag of the image."""
    selector = {NAME_LABEL: OPERATOR}
    labels = {**LABELS, **selector}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": OPERATOR, "labels": labels},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": labels}, "spec": _pod(version)},
            },
        }
    ]


def _pod(version: str) -> dict[str, Any]:
    return {
        "serviceAccountName": OPERATOR_ACCOUNT,
        "automountServiceAccountToken": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "operator",
                "image": IMAGE.format(image="operator", version=version),
                "args": ["--namespace=$(NAMESPACE)"],
                "env": [{"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
                "ports": [{"name": "health", "containerPort": PORT}],
                # Patient: on a busy node the first answer comes late, and a restart would begin anew.
                # Ready means: it has reached the API server and watches; a pod that crashes at once never is.
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 5},
                "livenessProbe": {
                    "httpGet": {"path": "/healthz", "port": "health"},
                    "periodSeconds": 15,
                    "timeoutSeconds": 5,
                    "failureThreshold": 4,
                },
                "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }

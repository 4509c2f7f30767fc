"""The operator's Deployment: one pod, which may be lost at any time, in the namespace that it serves.

Two at once would do no harm (every write is conditional, every name a function of what it is for), but no good either: there is
one replica, and the old one ends before the new one starts.
"""

from __future__ import annotations

from crd.kubernetes_objects import Manifest
from pipelines.names import IMAGE, LABELS, NAME_LABEL, OPERATOR, OPERATOR_ACCOUNT, USER_ID
from pipelines.pod_security import CONTAINER_SECURITY
from steps import __version__

PORT = 8080  # of kopf's /healthz, named in the image's entry point


def operator_manifests(version: str = __version__) -> list[Manifest]:
    """Return the Deployment, without a namespace: it is given when it is applied. ``version`` is the tag of the image."""
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


def _pod(version: str) -> Manifest:
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
                # Ready means that it watches the API server. The liveness probe waits long: on a busy node the first answer
                # comes late, and a restart would only delay it.
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

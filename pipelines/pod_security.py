"""What every pod of Slipway is restricted to, whoever makes it: no root, no privileges, a root file system that is read-only.

Together these meet the Pod Security Standard ``restricted`` (https://kubernetes.io/docs/concepts/security/pod-security-standards/),
which the namespace enforces.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.names import USER_ID

# securityContext of a pod
POD_SECURITY: Mapping[str, object] = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# securityContext of a container
CONTAINER_SECURITY: Mapping[str, object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}

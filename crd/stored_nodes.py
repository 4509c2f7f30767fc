"""The nodes of a Workflow, however Argo keeps them.

They lie in ``status.nodes`` until the whole object would be larger than 1 MiB. Then Argo keeps them as gzip in base64 in
``status.compressedNodes`` (https://argo-workflows.readthedocs.io/en/latest/offloading-large-workflows/) or, where it was set up
with a database for that, there, under the name in ``status.offloadNodeStatusVersion``. That nobody else can read.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

from crd.fitting import fit
from crd.kubernetes_objects import NodeObject, WorkflowObject

MAX_NODES = 32 << 20  # bytes of their JSON; a run of eight services whose builds were looked at 600 times each has about 8 MiB
GZIP = 31  # zlib's window bits for gzip, and for nothing else
OFFLOADED = (
    "Argo keeps the steps of this Workflow in its database (nodeStatusOffLoad), where Slipway cannot read them. "
    "Only whether the Workflow has ended is known."
)
DAMAGED = "The steps of this Workflow cannot be read: its status.compressedNodes is not JSON in gzip in base64."
TOO_MANY = (
    f"The steps of this Workflow cannot be read: unpacked, its status.compressedNodes has more than {MAX_NODES >> 20} MiB."
)


def read_nodes(workflow: WorkflowObject) -> tuple[Mapping[str, NodeObject], str]:
    """Return the nodes by their ids, and why there are none where they cannot be read: a sentence, else empty."""
    status = workflow.get("status") or {}
    if nodes := status.get("nodes"):
        return nodes, ""
    if packed := status.get("compressedNodes"):
        return _unpacked(packed)
    return {}, OFFLOADED if status.get("offloadNodeStatusVersion") else ""


def _unpacked(packed: str) -> tuple[Mapping[str, NodeObject], str]:
    reader = zlib.decompressobj(GZIP)
    try:
        data = reader.decompress(base64.b64decode(packed, validate=True), MAX_NODES)
        if reader.unconsumed_tail:
            return {}, TOO_MANY
        found = json.loads(data) if reader.eof else None
    except (ValueError, zlib.error, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {}, DAMAGED
    return {key: fit(node, NodeObject) for key, node in found.items()}, ""

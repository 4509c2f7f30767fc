"""A place without network: a network namespace of its own, as ``unshare`` of util-linux makes it without being root."""

from __future__ import annotations

import functools
import shutil
import subprocess


def without_network(command: list[str]) -> list[str]:
    """The command in a network namespace of its own, where nothing but this very machine can be reached.

    The command as it is, where no such place can be made.
    """
    return [*NAMESPACE, *command] if can_unshare() else command


NAMESPACE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@functools.cache
def can_unshare() -> bool:
    """Whether this machine has the tools for it and lets its users do it; many containers do not."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0

"""Which paths a process may open while it has a model open. Everything else is closed to it.

The lists name what Python, torch and a C library read on their own account. ``/etc`` and ``/proc`` are listed file by file:
there lie the secrets and the names of a machine, and in ``/proc/self/environ`` those of this process.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# Libraries, programs and devices' descriptions; those of macOS, Nix, Guix and AMD's ROCm too. What is missing is passed over.
SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/sys", "/opt/rocm", "/nix/store", "/gnu/store"),
    *("/System", "/Library", "/opt/homebrew", "/private/var/db/timezone", "/opt/nvidia"),
)
ETC = (
    *(
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "ld.so.preload",
        "localtime",
        "timezone",
        "nsswitch.conf",
        "passwd",
        "group",
    ),
    *("hosts", "host.conf", "gai.conf", "resolv.conf", "mime.types", "apache2/mime.types", "os-release", "lsb-release"),
    *("ssl/openssl.cnf", "ssl/certs", "ssl/cert.pem", "pki/tls/openssl.cnf", "pki/tls/certs", "pki/ca-trust/extracted"),
    *(
        "crypto-policies",
        "ca-certificates",
        "fonts",
        "OpenCL",
        "vulkan",
        "alternatives",
        "protocols",
        "services",
        "locale.alias",
    ),
)
PROC = (
    *("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "mounts", "devices", "modules", "sys"),
    *("driver", "cgroups", "diskstats", "vmstat", "zoneinfo", "swaps"),
)
# Of the process itself; not `environ`, `mem`, `root`, `cwd` and `task`, by which the first two are reached as well.
PROC_SELF = (
    *("auxv", "cgroup", "cmdline", "comm", "coredump_filter", "cpuset", "exe", "fd", "fdinfo", "io", "limits", "maps"),
    *("mountinfo", "mounts", "numa_maps", "oom_score", "oom_score_adj", "schedstat", "smaps", "smaps_rollup", "stat", "statm"),
    *("status", "uid_map", "gid_map"),
)
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "shm", "kfd", "dri", "dxg", "infiniband", "nvidia-caps")
ACCELERATORS = ("nvidiactl", "kfd", "dxg")  # whoever has one compiles for it while it serves, and so needs programs


def _libraries() -> tuple[str, ...]:
    """What Python and the libraries of the system read: files and folders."""
    paths = [*python_folders(), *SYSTEM, *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    paths += [f"/etc/{name}" for name in ETC] + [f"/proc/{name}" for name in PROC]
    paths += [f"/proc/{who}/{name}" for name in PROC_SELF for who in ("self", str(os.getpid()))]
    return _distinct(path for path in paths if path.startswith("/"))


def python_folders() -> list[str]:
    """Where this Python and its modules lie, however it is installed; also modules of an editable installation.

    An entry of the module path that is a home folder or lies above one is no place of modules alone, and is left out: a program
    started in such a folder has it there.
    """
    folders = [
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        sys.base_exec_prefix,
        os.path.dirname(os.path.realpath(sys.executable)),
    ]
    folders += [*sysconfig.get_paths().values(), *site.getsitepackages(), *sys.path]
    # What an import hook found outside of the module path: the package's own folder.
    for name, module in list(sys.modules.items()):
        if "." not in name and (file := getattr(module, "__file__", None)) and os.path.basename(file) == "__init__.py":
            folders.append(os.path.dirname(file))
    homes = (os.path.expanduser("~"), "/root", "/home", "/etc", "/tmp", "/var", "/proc", "/run", "/mnt", "/srv")
    closed = {os.path.realpath(path) for path in homes}
    found = [folder for folder in map(os.path.abspath, filter(None, folders)) if os.path.exists(folder)]
    found += [target for folder in dict.fromkeys(found) if folder in sys.path for target in _linked_modules(folder)]
    return [folder for folder in found if not any(_within(home, os.path.realpath(folder)) for home in closed)]


def _linked_modules(folder: str) -> list[str]:
    """Where modules really lie that a folder of the module path has as links: those of Nix, and of uv with links."""
    targets = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    targets.append(os.path.realpath(entry.path))
                elif os.path.islink(start := os.path.join(entry.path, "__init__.py")):
                    targets.append(os.path.dirname(os.path.realpath(start)))
    except OSError:  # a zip file, or none of ours to read
        return []
    return targets


def _devices() -> tuple[str, ...]:
    """Files and folders below ``/dev`` that libraries use, those of accelerators among them."""
    names = [*DEVICES, *(path.name for path in Path("/dev").glob("nvidia*"))]
    sockets = (os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"), "/run/nvidia-persistenced")
    return _distinct([*(f"/dev/{name}" for name in names), *(path for path in sockets if os.path.exists(path))])


def _has_accelerator() -> bool:
    """Whether this machine has a GPU whose driver is loaded."""
    return any(os.path.exists(f"/dev/{name}") for name in ACCELERATORS)


def _distinct(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.normpath(path) for path in paths))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


@dataclass(frozen=True)
class Allowed:
    """What may be opened. Paths are absolute and need not exist.

    Attributes:
        own: Folders to read: the package, or the model's files. Links in them are followed before a path is compared.
        writable: Folders to read and to write.
        parents: Folders in which empty folders may be removed: a temporary folder is removed by a right on the one it is in.
        libraries: Files and folders to read of Python and the system.
        devices: Files and folders to read and write below ``/dev``.
        connect: Whether connections to other hosts are allowed.
        programs: Whether other programs may be started.
    """

    own: tuple[str, ...]
    writable: tuple[str, ...]
    parents: tuple[str, ...] = ()
    libraries: tuple[str, ...] = field(default_factory=_libraries)
    devices: tuple[str, ...] = field(default_factory=_devices)
    connect: bool = False
    programs: bool = field(default_factory=_has_accelerator)

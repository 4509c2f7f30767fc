"""Every way a step can fail, as one closed list.

A failure is a ``SlipwayError`` with a ``Reason``. The reason alone decides the exit code, whether a retry can help, and
the hint that a person reads when the place that failed knows no better one. Workflows retry on the exit code, conditions
in ``status`` carry the reason's name, so both are contract: a reason may be added, never renamed.

    SlipwayError
      └─ .reason ─► class (exit code) ─► retryable or not

Exit codes: 0 done, 75 transient (``EX_TEMPFAIL``: retry), 70 a bug in Slipway (``EX_SOFTWARE``), 130 and 143 stopped by a
signal, and one code below 64 for each class of permanent failure. 64 and 65 are never used: Argo's executor exits with
them on faults of its own.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from steps.core.installation import install_command
from steps.core.text import printable


class ExitCode(IntEnum):
    """What a step's process returns; one code for each class of failure."""

    DONE = 0
    INPUT = 2  # the manifest, a flag or an address is wrong (argparse exits with 2 too)
    SOURCE = 10  # the source answered, and does not have what was asked for
    INTEGRITY = 11  # bytes are not those that were promised
    REFUSED = 12  # the gate does not let this in
    UNSUPPORTED = 13  # nothing here can serve this
    RESOURCES = 14  # disk or memory
    MODEL = 15  # the model or its service does not work
    ENVIRONMENT = 16  # something on this machine is missing
    BUG = 70
    TRANSIENT = 75
    INTERRUPTED = 130
    TERMINATED = 143


class Reason(StrEnum):
    """Why a step failed, in the words that end up in ``status``."""

    # INPUT
    INVALID_MANIFEST = "InvalidManifest"
    INVALID_INPUT = "InvalidInput"
    INVALID_SOURCE = "InvalidSource"
    UNKNOWN_TASK = "UnknownTask"
    # SOURCE
    SOURCE_NOT_FOUND = "SourceNotFound"
    ACCESS_DENIED = "AccessDenied"
    REVISION_NOT_FOUND = "RevisionNotFound"
    NOT_LFS = "NotLfs"
    LFS_UNAVAILABLE = "LfsUnavailable"
    LFS_OBJECT_MISSING = "LfsObjectMissing"
    SOURCE_PROTOCOL = "SourceProtocol"
    # INTEGRITY
    DIGEST_MISMATCH = "DigestMismatch"
    LOCK_MISMATCH = "LockMismatch"
    SET_DIGEST_UNEXPECTED = "SetDigestUnexpected"
    PUBLISH_CONFLICT = "PublishConflict"
    # REFUSED
    UNSAFE_PATH = "UnsafePath"
    FORBIDDEN_FORMAT = "ForbiddenFormat"
    INVALID_WEIGHTS = "InvalidWeights"
    REMOTE_CODE = "RemoteCode"
    INVALID_CONFIG = "InvalidConfig"
    # UNSUPPORTED
    NO_SAFETENSORS = "NoSafetensors"
    TASK_MISMATCH = "TaskMismatch"
    UNSUPPORTED_STORE = "UnsupportedStore"
    # RESOURCES
    DISK_FULL = "DiskFull"
    TOO_LARGE = "TooLarge"
    OUT_OF_MEMORY = "OutOfMemory"
    # MODEL
    LOAD_FAILED = "LoadFailed"
    BOOT_FAILED = "BootFailed"
    SMOKE_MISMATCH = "SmokeMismatch"
    BUILD_FAILED = "BuildFailed"
    # ENVIRONMENT
    MISSING_DEPENDENCY = "MissingDependency"
    BUILDER_MISSING = "BuilderMissing"
    STORE_UNREADABLE = "StoreUnreadable"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    POD_REFUSED = "PodRefused"
    WORKFLOW_REFUSED = "WorkflowRefused"
    # the rest
    INTERNAL_ERROR = "InternalError"
    NETWORK_UNREACHABLE = "NetworkUnreachable"
    SOURCE_BUSY = "SourceBusy"
    STORE_BUSY = "StoreBusy"
    BUILD_RUNNING = "BuildRunning"
    BUILDER_BUSY = "BuilderBusy"
    POD_LOST = "PodLost"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    INTERRUPTED = "Interrupted"
    TERMINATED = "Terminated"

    @property
    def exit_code(self) -> ExitCode:
        return REASONS[self].exit_code

    @property
    def retryable(self) -> bool:
        """Whether the same step with the same inputs may succeed later."""
        return self.exit_code in (ExitCode.TRANSIENT, ExitCode.INTERRUPTED, ExitCode.TERMINATED)

    @property
    def hint(self) -> str:
        return REASONS[self].hint


@dataclass(frozen=True)
class ReasonInfo:
    """What a reason means: its class, and what a person can do about it."""

    exit_code: ExitCode
    hint: str


_E = ExitCode
REASONS: dict[Reason, ReasonInfo] = {
    Reason.INVALID_MANIFEST: ReasonInfo(_E.INPUT, "Mend the named line of the manifest; crd/samples/ has examples."),
    Reason.INVALID_INPUT: ReasonInfo(_E.INPUT, "See the command's --help for what the flag accepts."),
    Reason.INVALID_SOURCE: ReasonInfo(_E.INPUT, "Use the plain https:// address that `git clone` would take."),
    Reason.UNKNOWN_TASK: ReasonInfo(_E.INPUT, "`slipway tasks` lists the tasks."),
    Reason.SOURCE_NOT_FOUND: ReasonInfo(_E.SOURCE, "Check the address, and that the repository is public."),
    Reason.ACCESS_DENIED: ReasonInfo(_E.SOURCE, "Check that the repository is public and its licence terms are accepted."),
    Reason.REVISION_NOT_FOUND: ReasonInfo(_E.SOURCE, "Name a branch, a tag or a full commit id that the repository has."),
    Reason.NOT_LFS: ReasonInfo(
        _E.SOURCE,
        "Put the weights under Git LFS (`git lfs migrate import --include='*.safetensors'`), or clone the repository and "
        "use `sourceKind: upload` with the folder.",
    ),
    Reason.LFS_UNAVAILABLE: ReasonInfo(
        _E.SOURCE, "Switch Git LFS on for this repository at its host, or use `sourceKind: upload`."
    ),
    Reason.LFS_OBJECT_MISSING: ReasonInfo(_E.SOURCE, "Push the object again from a full clone: `git lfs push --all origin`."),
    Reason.SOURCE_PROTOCOL: ReasonInfo(_E.SOURCE, "The server broke its protocol; ask whoever runs it."),
    Reason.DIGEST_MISMATCH: ReasonInfo(
        _E.INTEGRITY, "The bytes changed on their way or at rest. Delete the named object and run again."
    ),
    Reason.LOCK_MISMATCH: ReasonInfo(_E.INTEGRITY, "The files are not those that were fetched. Delete them and run again."),
    Reason.SET_DIGEST_UNEXPECTED: ReasonInfo(
        _E.INTEGRITY, "The source changed. Pin `revision` to a commit, or set `expectedSetDigest` anew after a review."
    ),
    Reason.PUBLISH_CONFLICT: ReasonInfo(
        _E.INTEGRITY,
        "Another object has this name with other bytes. Delete it if nothing refers to it, then run again.",
    ),
    Reason.UNSAFE_PATH: ReasonInfo(_E.REFUSED, "Rename or remove the file, or leave it out with `exclude`."),
    Reason.FORBIDDEN_FORMAT: ReasonInfo(_E.REFUSED, "Only safetensors weights and inert text are let in."),
    Reason.INVALID_WEIGHTS: ReasonInfo(_E.REFUSED, "Save the weights again with `model.save_pretrained(folder)`."),
    Reason.REMOTE_CODE: ReasonInfo(
        _E.REFUSED,
        "Use a model whose architecture is in the transformers library; code from a repository is never run.",
    ),
    Reason.INVALID_CONFIG: ReasonInfo(_E.REFUSED, "Save the model again with `model.save_pretrained(folder)`."),
    Reason.NO_SAFETENSORS: ReasonInfo(
        _E.UNSUPPORTED,
        "Convert once with `AutoModel.from_pretrained(...).save_pretrained(folder)` and publish model.safetensors.",
    ),
    Reason.TASK_MISMATCH: ReasonInfo(_E.UNSUPPORTED, "Ask for a task that the architecture can do."),
    Reason.UNSUPPORTED_STORE: ReasonInfo(_E.INPUT, "Use an address that `slipway run --help` lists for --store."),
    Reason.DISK_FULL: ReasonInfo(_E.RESOURCES, "Free the space that is named, or put the store on another disk (--store)."),
    Reason.TOO_LARGE: ReasonInfo(_E.RESOURCES, "Leave files out with `exclude`, or raise the limit."),
    Reason.OUT_OF_MEMORY: ReasonInfo(_E.RESOURCES, "Use a machine with more memory, or a smaller model."),
    Reason.LOAD_FAILED: ReasonInfo(_E.MODEL, "Try `transformers.pipeline(task, model=folder)` on the files by hand."),
    Reason.BOOT_FAILED: ReasonInfo(_E.MODEL, "Start the archive by hand with `slipway serve ARCHIVE`."),
    Reason.SMOKE_MISMATCH: ReasonInfo(_E.MODEL, "Compare the two answers in the message; the package is not fit to ship."),
    Reason.BUILD_FAILED: ReasonInfo(_E.MODEL, "Read the builder's last lines above; the build context is kept."),
    Reason.MISSING_DEPENDENCY: ReasonInfo(_E.ENVIRONMENT, "Install what is named into the same environment."),
    Reason.BUILDER_MISSING: ReasonInfo(
        _E.ENVIRONMENT, "Install buildah, podman or docker, or use the builder `plan`, which needs none."
    ),
    Reason.STORE_UNREADABLE: ReasonInfo(_E.ENVIRONMENT, "Check that the store exists and may be read and written."),
    Reason.IMAGE_UNAVAILABLE: ReasonInfo(
        _E.ENVIRONMENT, "Check that the step's image is in a registry that the cluster's nodes can pull from."
    ),
    Reason.POD_REFUSED: ReasonInfo(_E.ENVIRONMENT, "Mend what the cluster names: a quota, a policy, or a missing setting."),
    Reason.WORKFLOW_REFUSED: ReasonInfo(_E.ENVIRONMENT, "Apply Slipway's manifests again: `slipway install`."),
    Reason.INTERNAL_ERROR: ReasonInfo(_E.BUG, "This is a bug in Slipway: please report it with the traceback."),
    Reason.NETWORK_UNREACHABLE: ReasonInfo(_E.TRANSIENT, "Check the network and the address, then run again."),
    Reason.SOURCE_BUSY: ReasonInfo(_E.TRANSIENT, "The source is overloaded or asks to wait: run again later."),
    Reason.STORE_BUSY: ReasonInfo(_E.TRANSIENT, "The store is overloaded or out of reach: run again later."),
    Reason.BUILD_RUNNING: ReasonInfo(
        _E.TRANSIENT, "The image is being built elsewhere: run again later for what became of it."
    ),
    Reason.BUILDER_BUSY: ReasonInfo(_E.TRANSIENT, "The builder is overloaded, out of quota or out of reach: run again later."),
    Reason.POD_LOST: ReasonInfo(_E.TRANSIENT, "The cluster took the pod away: run again, and it goes on where it stopped."),
    Reason.DEADLINE_EXCEEDED: ReasonInfo(_E.TRANSIENT, "Run again: it goes on where it stopped. Else raise the limit."),
    Reason.INTERRUPTED: ReasonInfo(_E.INTERRUPTED, "Run the same command again: it goes on where it stopped."),
    Reason.TERMINATED: ReasonInfo(_E.TERMINATED, "Run the same command again: it goes on where it stopped."),
}


class SlipwayError(Exception):
    """The one error that leaves a step: a reason, a sentence for a person, and what to do instead."""

    def __init__(self, reason: Reason, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = printable(message)
        self.hint = printable(hint if hint is not None else reason.hint)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def missing_extra(*extras: str, package: str = "", needed_by: str = "") -> SlipwayError:
    """The error for an optional library that is not installed; its hint works in a checkout and for an installed wheel.

    Args:
        extras: The extras of ``pyproject.toml`` that hold it, such as ``s3``.
        package: The package that could not be imported.
        needed_by: What needs it: a store's address, a builder, a command.

    Returns:
        A ``SlipwayError`` with the reason ``MissingDependency``, for the caller to raise.
    """
    what = f"the package {package}" if package else f"the packages of {', '.join(extras)}"
    return SlipwayError(
        Reason.MISSING_DEPENDENCY,
        f"{needed_by or 'This command'} needs {what}, which {'is' if package else 'are'} not installed.",
        hint=f"Run `{install_command(*extras)}`.",
    )


class Terminated(BaseException):
    """SIGTERM arrived. As ``KeyboardInterrupt``, it is no ``Exception``: no library may take it for a failure of its own."""


def from_os_error(error: OSError, doing: str) -> SlipwayError:
    """Give an operating system's error its reason: a full disk is not a bug. ``doing`` says what was tried."""
    text = f"{doing}: {error.strerror or error}"
    if error.filename:
        text += f" ({error.filename})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return SlipwayError(Reason.DISK_FULL, text)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EIO):
        return SlipwayError(Reason.STORE_UNREADABLE, text)
    return SlipwayError(Reason.INTERNAL_ERROR, text)


def to_slipway_error(error: BaseException) -> SlipwayError:
    """The ``SlipwayError`` for anything that was raised: what nobody foresaw is a bug and keeps its traceback as cause."""
    match error:
        case SlipwayError():
            return error
        case KeyboardInterrupt():
            return SlipwayError(Reason.INTERRUPTED, "Stopped by Ctrl-C.")
        case Terminated():
            return SlipwayError(Reason.TERMINATED, "Stopped by SIGTERM.")
        case BrokenPipeError():
            return SlipwayError(Reason.INTERRUPTED, "Whoever read the output went away.")
        case MemoryError():
            return SlipwayError(Reason.OUT_OF_MEMORY, "There is not enough memory.")
        case OSError():
            result = from_os_error(error, "The operating system refused")
        case _:
            result = SlipwayError(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
    result.__cause__ = error
    return result

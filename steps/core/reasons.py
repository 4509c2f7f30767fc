"""Every reason why a step can fail, as one closed list.

The reason alone decides the exit code, whether a retry can help, and the hint that is shown when the place that failed has no
better one. Workflows retry on the exit code and conditions in ``status`` carry the reason's name, so both are a contract: a
reason may be added, never renamed. ``docs/errors.md`` is made from this list.

Exit codes: 0 done, 75 transient (``EX_TEMPFAIL`` of sysexits.h: retry), 70 a bug in Slipway (``EX_SOFTWARE``), 130 and 143
stopped by a signal, and one code below 64 for each class of permanent failure. 64 and 65 are never used: Argo's executor exits
with them when it fails itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """What a step's process returns: one code for each class of failure."""

    DONE = 0
    INPUT = 2
    SOURCE = 10
    INTEGRITY = 11
    REFUSED = 12
    UNSUPPORTED = 13
    RESOURCES = 14
    MODEL = 15
    ENVIRONMENT = 16
    BUG = 70
    TRANSIENT = 75
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """The class of failures that end with this code, in one sentence."""
        return EXIT_CODES[self]

    @property
    def retryable(self) -> bool:
        """Whether the same command may succeed later."""
        return self in (ExitCode.TRANSIENT, ExitCode.INTERRUPTED, ExitCode.TERMINATED)


EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.DONE: "The step is done.",
    ExitCode.INPUT: "The manifest, a flag, a setting or an address is wrong.",
    ExitCode.SOURCE: "The source answered, and does not have what was requested.",
    ExitCode.INTEGRITY: "Bytes are not the ones that were expected.",
    ExitCode.REFUSED: "The model holds something that Slipway does not accept.",
    ExitCode.UNSUPPORTED: "Slipway cannot serve this model or task.",
    ExitCode.RESOURCES: "There is not enough disk or memory.",
    ExitCode.MODEL: "The model, its service or its image does not work.",
    ExitCode.ENVIRONMENT: "Something is missing on this machine, in the store or in the cluster.",
    ExitCode.BUG: "Slipway has a bug.",
    ExitCode.TRANSIENT: "The failure is transient: the same command may succeed later.",
    ExitCode.INTERRUPTED: "The step was stopped by Ctrl-C (SIGINT).",
    ExitCode.TERMINATED: "The step was stopped by SIGTERM.",
}


class Reason(StrEnum):
    """Why a step failed: the names that ``status``, events and the termination log use."""

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
    SYSTEM_REFUSED = "SystemRefused"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    POD_REFUSED = "PodRefused"
    WORKFLOW_REFUSED = "WorkflowRefused"
    WORKFLOW_UNREADABLE = "WorkflowUnreadable"
    UNTRUSTED_CERTIFICATE = "UntrustedCertificate"
    PROXY_REFUSED = "ProxyRefused"
    # BUG, TRANSIENT, INTERRUPTED, TERMINATED
    INTERNAL_ERROR = "InternalError"
    NETWORK_UNREACHABLE = "NetworkUnreachable"
    SOURCE_BUSY = "SourceBusy"
    STORE_BUSY = "StoreBusy"
    SYSTEM_BUSY = "SystemBusy"
    BUILD_RUNNING = "BuildRunning"
    BUILDER_BUSY = "BuilderBusy"
    POD_LOST = "PodLost"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    INTERRUPTED = "Interrupted"
    TERMINATED = "Terminated"

    @property
    def exit_code(self) -> ExitCode:
        """The class of failure that the reason belongs to."""
        return REASONS[self].exit_code

    @property
    def retryable(self) -> bool:
        """Whether the same step with the same inputs may succeed later."""
        return self.exit_code.retryable

    @property
    def meaning(self) -> str:
        """What happened, in one sentence that is true wherever the reason is used."""
        return REASONS[self].meaning

    @property
    def hint(self) -> str:
        """What to do, where the place that failed knows nothing better."""
        return REASONS[self].hint


@dataclass(frozen=True)
class ReasonInfo:
    """What a reason means: its class of failure, a sentence about it, and what to do about it."""

    exit_code: ExitCode
    meaning: str
    hint: str


REASONS: dict[Reason, ReasonInfo] = {
    Reason.INVALID_MANIFEST: ReasonInfo(
        ExitCode.INPUT,
        "The manifest is not a valid Model.",
        "Fix the named line of the manifest; crd/samples/ has examples.",
    ),
    Reason.INVALID_INPUT: ReasonInfo(
        ExitCode.INPUT,
        "A flag, a setting or a parameter has a value that is not allowed.",
        "See the command's --help for what the flag accepts.",
    ),
    Reason.INVALID_SOURCE: ReasonInfo(
        ExitCode.INPUT,
        "The source's address cannot be used.",
        "Use the plain https:// address that `git clone` would take.",
    ),
    Reason.UNKNOWN_TASK: ReasonInfo(
        ExitCode.INPUT,
        "There is no task of this name.",
        "`slipway tasks` lists the tasks.",
    ),
    Reason.UNSUPPORTED_STORE: ReasonInfo(
        ExitCode.INPUT,
        "The store's address has a scheme that Slipway does not know.",
        "Use an address that `slipway run --help` lists for --store.",
    ),
    Reason.SOURCE_NOT_FOUND: ReasonInfo(
        ExitCode.SOURCE,
        "There is no repository or folder at the address.",
        "Check the address, and that the repository is public.",
    ),
    Reason.ACCESS_DENIED: ReasonInfo(
        ExitCode.SOURCE,
        "A server refused access.",
        "Check that the repository is public and its licence terms are accepted.",
    ),
    Reason.REVISION_NOT_FOUND: ReasonInfo(
        ExitCode.SOURCE,
        "The repository does not have the branch, tag or commit.",
        "Name a branch, a tag or a full commit id that the repository has.",
    ),
    Reason.NOT_LFS: ReasonInfo(
        ExitCode.SOURCE,
        "The weights are in Git itself and not in Git LFS.",
        "Put the weights under Git LFS (`git lfs migrate import --include='*.safetensors'`), or clone the repository and "
        "use `sourceKind: upload` with the folder.",
    ),
    Reason.LFS_UNAVAILABLE: ReasonInfo(
        ExitCode.SOURCE,
        "The host offers no Git LFS for the repository.",
        "Enable Git LFS for this repository at its host, or use `sourceKind: upload`.",
    ),
    Reason.LFS_OBJECT_MISSING: ReasonInfo(
        ExitCode.SOURCE,
        "The LFS server does not have a file that the commit names.",
        "Push the object again from a full clone: `git lfs push --all origin`.",
    ),
    Reason.SOURCE_PROTOCOL: ReasonInfo(
        ExitCode.SOURCE,
        "The source's server sent an answer that its protocol does not allow.",
        "The server does not keep to its protocol: report this to whoever runs it.",
    ),
    Reason.DIGEST_MISMATCH: ReasonInfo(
        ExitCode.INTEGRITY,
        "Bytes that were read do not have the digest that was recorded for them.",
        "The bytes changed in transit or in the store. Delete the named object and run again.",
    ),
    Reason.LOCK_MISMATCH: ReasonInfo(
        ExitCode.INTEGRITY,
        "Files or documents are not those of the lock.",
        "The files are not those that were fetched. Delete them and run again.",
    ),
    Reason.SET_DIGEST_UNEXPECTED: ReasonInfo(
        ExitCode.INTEGRITY,
        "The files have another set digest than `expectedSetDigest`.",
        "The source changed. Pin `revision` to a commit, or review the new files and update `expectedSetDigest`.",
    ),
    Reason.PUBLISH_CONFLICT: ReasonInfo(
        ExitCode.INTEGRITY,
        "The store has an object of this name with other bytes.",
        "Delete the object if nothing refers to it, then run again.",
    ),
    Reason.UNSAFE_PATH: ReasonInfo(
        ExitCode.REFUSED,
        "A path could be unsafe: of a file, or one that a configuration names; or it is not a regular file.",
        "Rename or remove the file, or leave it out with `exclude`.",
    ),
    Reason.FORBIDDEN_FORMAT: ReasonInfo(
        ExitCode.REFUSED,
        "A file has a format that can hold code.",
        "Only safetensors weights and inert text files are accepted.",
    ),
    Reason.INVALID_WEIGHTS: ReasonInfo(
        ExitCode.REFUSED,
        "The weights are not valid safetensors, or not all that the model needs.",
        "Save the weights again with `model.save_pretrained(folder)`.",
    ),
    Reason.REMOTE_CODE: ReasonInfo(
        ExitCode.REFUSED,
        "The model needs Python code from its repository.",
        "Use a model whose architecture is in the transformers library; code from a repository is never run.",
    ),
    Reason.INVALID_CONFIG: ReasonInfo(
        ExitCode.REFUSED,
        "A configuration file is not valid, or contradicts the other files.",
        "Save the model again with `model.save_pretrained(folder)`.",
    ),
    Reason.NO_SAFETENSORS: ReasonInfo(
        ExitCode.UNSUPPORTED,
        "The repository has no safetensors weights.",
        "Convert the model once with `AutoModel.from_pretrained(...).save_pretrained(folder)` and publish model.safetensors.",
    ),
    Reason.TASK_MISMATCH: ReasonInfo(
        ExitCode.UNSUPPORTED,
        "The model's architecture cannot do the task.",
        "Choose a task that the architecture can do.",
    ),
    Reason.DISK_FULL: ReasonInfo(
        ExitCode.RESOURCES,
        "A disk is full, or has not enough space for what is to come.",
        "Free the space that is named, or put the store on another disk (--store).",
    ),
    Reason.TOO_LARGE: ReasonInfo(
        ExitCode.RESOURCES,
        "Something exceeds a limit in bytes or in count.",
        "Leave files out with `exclude`, or raise the limit.",
    ),
    Reason.OUT_OF_MEMORY: ReasonInfo(
        ExitCode.RESOURCES,
        "The step needs more memory than there is.",
        "Use a machine with more memory, or a smaller model.",
    ),
    Reason.LOAD_FAILED: ReasonInfo(
        ExitCode.MODEL,
        "The library could not load the model, or the model does not answer.",
        "Try `transformers.pipeline(task, model=folder)` on the files by hand.",
    ),
    Reason.BOOT_FAILED: ReasonInfo(
        ExitCode.MODEL,
        "The packaged service did not start, or ended by itself.",
        "Start the archive by hand with `slipway serve ARCHIVE`.",
    ),
    Reason.SMOKE_MISMATCH: ReasonInfo(
        ExitCode.MODEL,
        "The packaged service answers differently from the model itself.",
        "Compare the two answers in the message; do not deploy this package.",
    ),
    Reason.BUILD_FAILED: ReasonInfo(
        ExitCode.MODEL,
        "The image could not be built or pushed.",
        "Read the last lines of the builder above; the build context is kept in the store.",
    ),
    Reason.MISSING_DEPENDENCY: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "A package, a program or a configuration is missing on this machine.",
        "Install what is named into the same environment.",
    ),
    Reason.BUILDER_MISSING: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "No program that builds images is installed.",
        "Install buildah, podman or docker, or use the builder `plan`, which needs none of them.",
    ),
    Reason.STORE_UNREADABLE: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "An object, a folder or a bucket of the store cannot be read or written.",
        "Check that the store exists, and that you may read and write it.",
    ),
    Reason.SYSTEM_REFUSED: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "This machine's operating system refused something: a right, a limit, or what a file system cannot do.",
        "Look at the file, folder or limit that is named, or use another folder: --store for the store, TMPDIR for unfinished "
        "work.",
    ),
    Reason.IMAGE_UNAVAILABLE: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "The cluster cannot pull a container image of Slipway.",
        "Check that the step's image is in a registry that the cluster's nodes can pull from.",
    ),
    Reason.POD_REFUSED: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "Kubernetes did not admit or start a step's pod.",
        "Fix what Kubernetes reports: a quota, a policy, or a missing setting.",
    ),
    Reason.WORKFLOW_REFUSED: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "Argo did not accept the Workflow.",
        "Apply Slipway's manifests again: `slipway install`.",
    ),
    Reason.WORKFLOW_UNREADABLE: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "Argo keeps the steps of the Workflow where Slipway cannot read them.",
        "The run's records and its report are in the store, under runs/. Set `nodeStatusOffLoad: false` in the `persistence` "
        "of Argo's workflow-controller-configmap, then delete the Model and submit it again.",
    ),
    Reason.UNTRUSTED_CERTIFICATE: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "A server's TLS certificate is not trusted on this machine.",
        "Name the file of its certificate authority in SSL_CERT_FILE.",
    ),
    Reason.PROXY_REFUSED: ReasonInfo(
        ExitCode.ENVIRONMENT,
        "A proxy refused the request, or cannot be used as it is configured.",
        "Check the variable that names the proxy (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY), and NO_PROXY.",
    ),
    Reason.INTERNAL_ERROR: ReasonInfo(
        ExitCode.BUG,
        "An error that Slipway did not foresee.",
        "This is a bug in Slipway: please report it with the traceback.",
    ),
    Reason.NETWORK_UNREACHABLE: ReasonInfo(
        ExitCode.TRANSIENT,
        "A server could not be reached.",
        "Check the network and the address, then run again.",
    ),
    Reason.SOURCE_BUSY: ReasonInfo(
        ExitCode.TRANSIENT,
        "The source is overloaded, or limits the rate of requests.",
        "The source cannot do it now: run again later.",
    ),
    Reason.STORE_BUSY: ReasonInfo(
        ExitCode.TRANSIENT,
        "The store is overloaded or cannot be reached.",
        "The store cannot do it now: run again later.",
    ),
    Reason.SYSTEM_BUSY: ReasonInfo(
        ExitCode.TRANSIENT,
        "This machine's operating system could not do something at that moment.",
        "The system cannot do it now: run again later.",
    ),
    Reason.BUILD_RUNNING: ReasonInfo(
        ExitCode.TRANSIENT,
        "The image is still being built elsewhere.",
        "Run again later: the step continues with the same build.",
    ),
    Reason.BUILDER_BUSY: ReasonInfo(
        ExitCode.TRANSIENT,
        "The builder is overloaded, out of quota or cannot be reached.",
        "The builder cannot do it now: run again later.",
    ),
    Reason.POD_LOST: ReasonInfo(
        ExitCode.TRANSIENT,
        "The cluster removed the step's pod.",
        "Run again: the step continues where it stopped.",
    ),
    Reason.DEADLINE_EXCEEDED: ReasonInfo(
        ExitCode.TRANSIENT,
        "A time limit was exceeded.",
        "Run again: the step continues where it stopped. If that does not help, raise the limit.",
    ),
    Reason.INTERRUPTED: ReasonInfo(
        ExitCode.INTERRUPTED,
        "Ctrl-C was pressed, or the reader of the output ended.",
        "Run the same command again: it continues where it stopped.",
    ),
    Reason.TERMINATED: ReasonInfo(
        ExitCode.TERMINATED,
        "The process was told to stop (SIGTERM).",
        "Run the same command again: it continues where it stopped.",
    ),
}

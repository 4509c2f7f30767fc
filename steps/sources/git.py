"""Git, held at arm's length: names resolved, one commit fetched, its tree read; nothing is ever checked out.

Git runs through GitPython's ``Git.execute`` with a fixed argument list, ``--`` before every value, and an environment built
from nothing (``env -i``, because GitPython otherwise adds the caller's). Files come out of the object database by plumbing
(``ls-tree``, ``cat-file``), so no hook, filter, attribute, symbolic link or submodule of the repository ever acts. Nor does
Git follow redirects: they go through the same policy as those of every other request.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from steps.core.errors import Reason, SlipwayError
from steps.net.proxy import proxy_environment
from steps.net.retry import TransientError
from steps.net.tls import certificate_environment
from steps.net.urls import Url
from steps.sources.choose import SourceFile, printable
from steps.sources.client import SourceClient

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# https://git-scm.com/docs/git-check-ref-format, narrowed to what people use
_REF = re.compile(r"(?!.*(\.\.|@\{|//|\.lock(/|$)|/\.|\.$|/$))[A-Za-z0-9_][A-Za-z0-9._/+@=-]*")
MAX_TREE = 100_000  # files
CONFIG = {
    "protocol.version": "2",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "false",
    "core.askPass": "",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "http.followRedirects": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # A server that sends next to nothing for a minute is given up.
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}

# Git says what went wrong in words only (LC_ALL=C keeps them English): the first match gives the reason.
_FAILURES: tuple[tuple[str, Reason], ...] = (
    (r"Could not resolve host|Failed to connect|Connection refused|Connection timed out|Network is unreachable"
     r"|Connection reset|early EOF|hung up|transfer closed|Operation too slow|Empty reply|gnutls_handshake|SSL_connect",
     Reason.NETWORK_UNREACHABLE),
    (r"error: (429|408|5\d\d)\b|HTTP (429|408|5\d\d)\b", Reason.SOURCE_BUSY),
    (r"could not read Username|could not read Password|Authentication failed|error: 40[13]\b|terminal prompts disabled",
     Reason.ACCESS_DENIED),
    (r"not found|error: 404\b|not valid: is this a git repository|error: 410\b|does not appear to be a git repository",
     Reason.SOURCE_NOT_FOUND),
    (r"No space left on device|Disk quota exceeded|unable to write|write error", Reason.DISK_FULL),
    (r"certificate|SSL", Reason.SOURCE_PROTOCOL),
)  # fmt: skip


# What Git asks first below a repository's address (gitprotocol-http(5)); redirects are judged by it.
_FIRST, _QUERY = "/info/refs", "service=git-upload-pack"


class _Moved(SlipwayError):
    """The server redirected Git."""


class GitRemote:
    """A repository behind a checked address."""

    def __init__(self, url: Url, http: SourceClient) -> None:
        self._url, self._http = url, http

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag or nothing (the default branch) means now; a commit id stays itself.

        Raises ``RevisionNotFound``, naming what is near.
        """
        if COMMIT.fullmatch(revision):
            return revision
        if revision and not _REF.fullmatch(revision):
            raise SlipwayError(Reason.REVISION_NOT_FOUND, f"{revision!r} cannot be the name of a branch or tag.")
        with tempfile.TemporaryDirectory(prefix="slipway-git-") as home:
            listing = self._ask(Path(home), ["ls-remote", "--quiet"])
        lines = [line.partition(b"\t") for line in listing.splitlines()]
        refs = {printable(name): printable(commit) for commit, _, name in lines}
        if not refs:
            raise SlipwayError(
                Reason.REVISION_NOT_FOUND, f"{self._url} is an empty repository.", hint="Push the model's files to it first."
            )
        for name in _names(revision):
            if COMMIT.fullmatch(refs.get(name, "")):
                return refs[name]
        known = sorted({match[1] for name in refs if (match := re.fullmatch(r"refs/(?:heads|tags)/(.*?)(?:\^\{\})?", name))})
        near = difflib.get_close_matches(revision, known, n=1)
        what = f"branch or tag {revision!r}" if revision else "default branch"
        raise SlipwayError(
            Reason.REVISION_NOT_FOUND,
            f"{self._url} has no {what}." + (f" Did you mean {near[0]!r}?" if near else ""),
            hint=f"It has: {', '.join(known[:10])}{' …' if len(known) > 10 else ''}." if known else None,
        )

    def fetch(self, commit: str, folder: Path) -> GitTree:
        """Fetch that one commit, without history, into a bare repository in ``folder`` (which may exist)."""
        folder.mkdir(parents=True, exist_ok=True)
        self._git(folder, ["init", "--quiet", "--bare", "--template=", "."])
        self._ask(folder, ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head"], commit)
        return GitTree(self, folder, commit)

    def read(self, folder: Path, arguments: Sequence[str], stdin: bytes = b"") -> bytes:
        """Run git on what was fetched; for ``GitTree``."""
        return self._git(folder, arguments, stdin)

    def _ask(self, folder: Path, arguments: Sequence[str], *refs: str) -> bytes:
        """Run git against the repository's address, and once more where that has moved."""
        try:
            return self._git(folder, [*arguments, "--", str(self._url), *refs])
        except _Moved:
            asked = replace(self._url, path=self._url.path + _FIRST, query=_QUERY)
            landed = self._http.final_address(asked, headers={"User-Agent": "git/2"}, what=str(self._url))
            if not landed.path.endswith(_FIRST):
                raise
            self._url = replace(landed, path=landed.path.removesuffix(_FIRST), query="")
            return self._git(folder, [*arguments, "--", str(self._url), *refs])

    def _git(self, folder: Path, arguments: Sequence[str], stdin: bytes = b"") -> bytes:
        if shutil.which("git") is None:  # GitPython cannot even be imported then
            raise SlipwayError(Reason.MISSING_DEPENDENCY, "The program git is not installed.", hint="Install git.")
        import git

        command = ["env", "-i", *_environment(folder), "git"]
        for name, value in CONFIG.items():
            command += ["-c", f"{name}={value}"]
        with tempfile.TemporaryFile() as feed:
            feed.write(stdin)
            feed.seek(0)
            status, stdout, stderr = git.Git(str(folder)).execute(
                [*command, *arguments],
                istream=feed,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        if status != 0:
            raise self._failure(_text(stderr), arguments)
        return stdout if isinstance(stdout, bytes) else str(stdout).encode()

    def _failure(self, stderr: str, arguments: Sequence[str]) -> SlipwayError:
        lines = [line for line in stderr.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
        said = re.sub(r"^(fatal|error|remote): *", "", (lines or stderr.splitlines() or ["nothing"])[0]).rstrip(".")
        said = printable(said.encode())  # a server's words may hold a terminal's control sequences
        if re.search(r"error: 30[12378]\b", stderr):
            return _Moved(Reason.SOURCE_NOT_FOUND, f"{self._url} redirects to what is no repository.")
        if re.search(r"not our ref|couldn't find remote ref|unadvertised object", stderr):
            return SlipwayError(Reason.REVISION_NOT_FOUND, f"{self._url} has no such commit: {said}.")
        for pattern, reason in _FAILURES:
            if re.search(pattern, stderr):
                message = f"{self._url}: {said}."
                return TransientError(reason, message) if reason.retryable else SlipwayError(reason, message)
        return SlipwayError(Reason.SOURCE_PROTOCOL, f"git {arguments[0]} failed for {self._url}: {said}.")


class GitTree:
    """The files of one fetched commit."""

    def __init__(self, remote: GitRemote, folder: Path, commit: str) -> None:
        self._remote, self._folder, self._commit = remote, folder, commit

    def files(self) -> list[SourceFile]:
        """Every entry of the tree; sizes are those of the blobs, which for LFS files means of the pointers."""
        listing = self._remote.read(self._folder, ["ls-tree", "-r", "-z", "--long", "--full-tree", self._commit])
        entries = [entry for entry in listing.split(b"\0") if entry]
        if len(entries) > MAX_TREE:
            raise SlipwayError(Reason.TOO_LARGE, f"The repository has {len(entries)} files; {MAX_TREE} are allowed.")
        return [_entry(entry) for entry in entries]

    def read(self, files: Sequence[SourceFile]) -> dict[str, bytes]:
        """The blobs of these files by path, all at once. Git itself checks each against its object id."""
        feed = "".join(f"{file.ref}\n" for file in files).encode()
        output = self._remote.read(self._folder, ["cat-file", "--batch"], feed) if files else b""
        contents: dict[str, bytes] = {}
        position = 0
        for file in files:
            end = output.index(b"\n", position)
            size = int(output[position:end].split()[2])
            contents[file.path] = output[end + 1 : end + 1 + size]
            position = end + 1 + size + 1
        return contents


def _entry(entry: bytes) -> SourceFile:
    meta, _, name = entry.partition(b"\t")
    mode, kind, oid, size = meta.decode().split()
    stored: Literal["git", "symlink", "submodule"] = "git"
    if kind == "commit":
        stored = "submodule"
    elif mode == "120000":
        stored = "symlink"
    return SourceFile(printable(name), 0 if size == "-" else int(size), stored, oid)


def _names(revision: str) -> list[str]:
    """Where a name is looked for, the commit behind an annotated tag (``^{}``) before the tag."""
    if not revision:
        return ["HEAD"]
    if revision.startswith("refs/"):
        return [f"{revision}^{{}}", revision]
    return [f"refs/heads/{revision}", f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}"]


def _environment(home: Path) -> list[str]:
    names = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "http:https",
        "GIT_CEILING_DIRECTORIES": str(home.parent),
    }
    names |= proxy_environment() | certificate_environment()
    return [f"{name}={value}" for name, value in names.items()]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

"""A Git repository: names resolved, one commit fetched, its tree read; nothing is ever checked out.

Files are read from the object database by plumbing commands (``ls-tree``, ``cat-file``), so no hook, filter, attribute,
symbolic link or submodule of the repository ever acts. Git does not follow redirects: they are followed here, by the same rules
as those of every other request.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from steps.core.errors import Reason, SlipwayError
from steps.net.urls import Url
from steps.sources.choose import SourceFile, printable
from steps.sources.client import SourceClient
from steps.sources.git_command import GitRedirectedError, run_git

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# https://git-scm.com/docs/git-check-ref-format, narrowed to what people use
_REF = re.compile(r"(?!.*(\.\.|@\{|//|\.lock(/|$)|/\.|\.$|/$))[A-Za-z0-9_][A-Za-z0-9._/+@=-]*")
MAX_TREE = 100_000  # files
# What Git asks first below a repository's address (gitprotocol-http(5)); redirects are judged by it.
_FIRST, _QUERY = "/info/refs", "service=git-upload-pack"


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
        self._run(folder, ["init", "--quiet", "--bare", "--template=", "."])
        self._ask(folder, ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head"], commit)
        return GitTree(str(self._url), folder, commit)

    def _run(self, folder: Path, arguments: Sequence[str]) -> bytes:
        return run_git(folder, arguments, address=str(self._url))

    def _ask(self, folder: Path, arguments: Sequence[str], *refs: str) -> bytes:
        """Run git against the repository's address, and once more where that has moved."""
        try:
            return self._run(folder, [*arguments, "--", str(self._url), *refs])
        except GitRedirectedError:
            asked = replace(self._url, path=self._url.path + _FIRST, query=_QUERY)
            landed = self._http.final_address(asked, headers={"User-Agent": "git/2"}, what=str(self._url))
            if not landed.path.endswith(_FIRST):
                raise
            self._url = replace(landed, path=landed.path.removesuffix(_FIRST), query="")
            return self._run(folder, [*arguments, "--", str(self._url), *refs])


class GitTree:
    """The files of one fetched commit."""

    def __init__(self, address: str, folder: Path, commit: str) -> None:
        self._address, self._folder, self._commit = address, folder, commit

    def files(self) -> list[SourceFile]:
        """Every entry of the tree; sizes are those of the blobs, which for LFS files means of the pointers."""
        listing = run_git(self._folder, ["ls-tree", "-r", "-z", "--long", "--full-tree", self._commit], address=self._address)
        entries = [entry for entry in listing.split(b"\0") if entry]
        if len(entries) > MAX_TREE:
            raise SlipwayError(Reason.TOO_LARGE, f"The repository has {len(entries)} files; {MAX_TREE} are allowed.")
        return [_entry(entry) for entry in entries]

    def read(self, files: Sequence[SourceFile]) -> dict[str, bytes]:
        """The blobs of these files by path, all at once. Git itself checks each against its object id."""
        feed = "".join(f"{file.ref}\n" for file in files).encode()
        output = run_git(self._folder, ["cat-file", "--batch"], address=self._address, stdin=feed) if files else b""
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

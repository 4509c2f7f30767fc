"""A Git repository: names resolved, one commit fetched, its tree read; nothing is ever checked out.

Files are read from the object database by plumbing commands (``ls-tree``, ``cat-file``), so no hook, filter, attribute,
symbolic link or submodule of the repository ever acts. Git does not follow redirects: they are followed here, by the same rules
as those of every other request.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import Literal, TypeVar

from steps.core.chunks import chunk_stream
from steps.core.digest import CHUNK
from steps.core.errors import Reason, SlipwayError
from steps.net.urls import Url
from steps.sources.choose import MAX_FILES, SourceFile, printable, too_many_files
from steps.sources.client import SourceClient
from steps.sources.git_command import git_output, run_git
from steps.sources.git_failures import GitRedirectedError
from steps.sources.lfs_api import MAX_POINTER

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LIKE_COMMIT = re.compile(r"[0-9A-Fa-f]{4,64}")  # one that is short, or in upper case
# https://git-scm.com/docs/git-check-ref-format, narrowed to what people use
_REF = re.compile(r"(?!.*(\.\.|@\{|//|\.lock(/|$)|/\.|\.$|/$))[A-Za-z0-9_][A-Za-z0-9._/+@=-]*")
MAX_REFS = 500_000  # of a repository; one of models has some thousand at most
KNOWN_REFS = 1000  # names that a misspelt one is compared with
MAX_LINE = 64 << 10  # bytes of one name in a list
_FETCH = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head")
T = TypeVar("T")
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
        names = _names(revision)
        with tempfile.TemporaryDirectory(prefix="slipway-git-") as home:
            refs, known = self._ask(Path(home), ["ls-remote", "--quiet"], read=lambda output: self._refs(output, set(names)))
        if not refs and not known:
            raise SlipwayError(
                Reason.REVISION_NOT_FOUND, f"{self._url} is an empty repository.", hint="Push the model's files to it first."
            )
        for name in names:
            if COMMIT.fullmatch(refs.get(name, "")):
                return refs[name]
        near = difflib.get_close_matches(revision, known, n=1)
        what = f"branch or tag {revision!r}" if revision else "default branch"
        hint = f"It has: {', '.join(known[:10])}{' …' if len(known) > 10 else ''}." if known else ""
        if _LIKE_COMMIT.fullmatch(revision):
            hint += " A commit is named by its full id of 40 or 64 digits, in lower case."
        raise SlipwayError(
            Reason.REVISION_NOT_FOUND,
            f"{self._url} has no {what}." + (f" Did you mean {near[0]!r}?" if near else ""),
            hint=hint.strip() or None,
        )

    def fetch(self, commit: str, folder: Path) -> GitTree:
        """Fetch that one commit, without history, into a bare repository in ``folder`` (which may exist).

        Files of ``MAX_POINTER`` bytes and more stay on the server, where that can filter, until ``fetch_files`` asks for them.
        """
        self._fetch_commit(folder, commit, [f"--filter=blob:limit={MAX_POINTER}"])
        return GitTree(self._url, folder, commit)

    def fetch_files(self, tree: GitTree, files: Sequence[SourceFile]) -> None:
        """Fetch those of the files that stayed on the server. Raises ``TooLarge`` beyond what Git may write."""
        refs = sorted({file.ref for file in files if not file.size_known})
        if not refs:
            return
        try:
            self._ask(
                tree.folder,
                [*_FETCH, "--filter=blob:none", "--stdin"],
                read=_nothing,
                stdin="".join(f"{ref}\n" for ref in refs),
            )
        except SlipwayError as error:
            if error.reason is not Reason.REVISION_NOT_FOUND:
                raise
            # The server can filter, and gives nothing out but commits (protocols 0 and 1): then everything has to come.
            tree.folder = tree.folder / "whole"
            self._fetch_commit(tree.folder, tree.commit, [])

    def _fetch_commit(self, folder: Path, commit: str, options: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        form = "sha256" if len(commit) == 64 else "sha1"
        run_git(folder, ["init", "--quiet", "--bare", "--template=", f"--object-format={form}", "."], url=self._url)
        self._ask(folder, [*_FETCH, *options], commit, read=_nothing)

    def _refs(self, output: Iterator[bytes], names: set[str]) -> tuple[dict[str, str], list[str]]:
        """The commits of those names that are there, and the first branches and tags, as ``git ls-remote`` lists them."""
        refs: dict[str, str] = {}
        known: set[str] = set()
        for count, line in enumerate(_split(output, b"\n", str(self._url))):
            if count == MAX_REFS:
                raise SlipwayError(
                    Reason.TOO_LARGE,
                    f"{self._url} lists more than {MAX_REFS} branches, tags and other names.",
                    hint="Set `revision` to a full commit id: then the list is not read.",
                )
            commit, _, raw = line.partition(b"\t")
            name = printable(raw)
            if name in names:
                refs[name] = printable(commit)
            if len(known) < KNOWN_REFS and (match := re.fullmatch(r"refs/(?:heads|tags)/(.*?)(?:\^\{\})?", name)):
                known.add(match[1])
        return refs, sorted(known)

    def _ask(
        self,
        folder: Path,
        arguments: Sequence[str],
        *refs: str,
        read: Callable[[Iterator[bytes]], T],
        stdin: str = "",
    ) -> T:
        """Run git against the repository's address, and once more where that has moved; ``read`` takes its output."""
        try:
            return self._run(folder, [*arguments, "--", str(self._url), *refs], stdin, read)
        except GitRedirectedError:
            landed = self._first_request()
            if not landed.path.endswith(_FIRST):
                raise
            self._url = replace(landed, path=landed.path.removesuffix(_FIRST), query="")
            return self._run(folder, [*arguments, "--", str(self._url), *refs], stdin, read)
        except SlipwayError as error:
            if error.reason is Reason.UNTRUSTED_CERTIFICATE:
                self._first_request()  # Git does not say what is wrong with a certificate, and Python does
            raise

    def _first_request(self) -> Url:
        """Send Git's first request, and return the address where redirects from it end."""
        asked = replace(self._url, path=self._url.path + _FIRST, query=_QUERY)
        return self._http.final_address(asked, headers={"User-Agent": "git/2"}, what=str(self._url))

    def _run(self, folder: Path, arguments: Sequence[str], stdin: str, read: Callable[[Iterator[bytes]], T]) -> T:
        with contextlib.closing(git_output(folder, arguments, url=self._url, stdin=stdin.encode())) as output:
            return read(output)


class GitTree:
    """The files of one fetched commit."""

    def __init__(self, url: Url, folder: Path, commit: str) -> None:
        self._url, self._address = url, str(url)
        self.folder, self.commit = folder, commit

    def files(self) -> list[SourceFile]:
        """Every entry of the tree; sizes are those of the blobs, which for LFS files means of the pointers.

        The size of a file that stayed on the server is not known. Raises ``TooLarge`` as soon as there are too many.
        """
        command = ["ls-tree", "-r", "-z", "--full-tree", self.commit]
        files: list[SourceFile] = []
        with contextlib.closing(git_output(self.folder, command, url=self._url)) as output:
            for entry in _split(output, b"\0", self._address):
                files.append(_entry(entry))
                if len(files) > MAX_FILES:
                    raise too_many_files()
        return self.with_sizes(files)

    def with_sizes(self, files: Sequence[SourceFile]) -> list[SourceFile]:
        """The files with the sizes of those that are here."""
        wanted = {file.ref for file in files}
        sizes: dict[str, int] = {}
        # It lists what is here. A question about one object would have Git fetch that from the server.
        command = ["cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname) %(objectsize)"]
        with contextlib.closing(git_output(self.folder, command, url=self._url)) as output:
            for line in _split(output, b"\n", self._address):
                name, _, size = line.decode().partition(" ")
                if name in wanted:
                    sizes[name] = int(size)
        return [
            file if file.stored != "git" else replace(file, size=sizes.get(file.ref, 0), size_known=file.ref in sizes)
            for file in files
        ]

    def contents(self, files: Sequence[SourceFile]) -> Generator[tuple[SourceFile, Iterator[bytes]]]:
        """The blobs of these files, one after the other, each in chunks. Git itself checks each against its object id.

        Close it, so that Git ends before the folder does.
        """
        if not files:
            return
        feed = "".join(f"{file.ref}\n" for file in files).encode()
        with contextlib.closing(git_output(self.folder, ["cat-file", "--batch"], url=self._url, stdin=feed)) as output:
            stream = chunk_stream(output)
            for file in files:
                head = stream.readline(200).split()
                if len(head) != 3 or not head[2].isdigit():
                    raise SlipwayError(
                        Reason.SOURCE_PROTOCOL, f"{self._address} did not send {file.path}, which its commit names."
                    )
                left = _Left(stream, int(head[2]))
                yield file, left
                for _ in left:  # what the consumer did not take
                    pass
                stream.read(1)

    def read(self, files: Sequence[SourceFile]) -> dict[str, bytes]:
        """The blobs of these files by path, all at once: for small ones."""
        with contextlib.closing(self.contents(files)) as contents:
            return {file.path: b"".join(chunks) for file, chunks in contents}


class _Left:
    """The bytes of a stream up to some length, in chunks; nothing more once they were taken."""

    def __init__(self, stream: BufferedReader, size: int) -> None:
        self._stream, self._size = stream, size

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self._stream.read(min(CHUNK, self._size)) if self._size else b""
        self._size -= len(chunk)
        if not chunk:
            raise StopIteration
        return chunk


def _entry(entry: bytes) -> SourceFile:
    meta, _, name = entry.partition(b"\t")
    mode, kind, oid = meta.decode().split()
    stored: Literal["git", "symlink", "submodule"] = "git"
    if kind == "commit":
        stored = "submodule"
    elif mode == "120000":
        stored = "symlink"
    return SourceFile(printable(name), 0, stored, oid)


def _split(output: Iterator[bytes], separator: bytes, address: str) -> Iterator[bytes]:
    """The parts of an output that ends with the separator. Raises ``TooLarge`` for a long one."""
    rest = b""
    for chunk in output:
        *parts, rest = (rest + chunk).split(separator)
        for part in (*parts, rest):
            if len(part) > MAX_LINE:
                raise SlipwayError(Reason.TOO_LARGE, f"{address} has a name of more than {MAX_LINE} bytes.")
        yield from parts


def _nothing(output: Iterator[bytes]) -> None:
    for _ in output:
        pass


def _names(revision: str) -> list[str]:
    """Where a name is looked for, the commit behind an annotated tag (``^{}``) before the tag."""
    if not revision:
        return ["HEAD"]
    if revision.startswith("refs/"):
        return [f"{revision}^{{}}", revision]
    return [f"refs/heads/{revision}", f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}"]

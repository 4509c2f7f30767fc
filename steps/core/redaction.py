"""Secrets in addresses: refused where an address enters, and cut out of everything that is printed or written.

Secrets stand in an address before the host (``https://user:password@host``, RFC 3986 section 3.2.1), in its query (signatures
of object stores) and in its fragment. ``find_secret`` tells whether a value from outside has such a place; ``redact`` removes
these places from any text, whoever has put the address there. It is applied where texts leave Slipway: ``SlipwayError``,
``Failure``, ``Progress``, receipts and tracebacks.

Credentials that are legitimate, such as those of a proxy or a package index in the environment, are not refused. Their values
are removed from texts as well, wherever they occur.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import TypeVar

ELLIPSIS = "…"
# Programs take percent-encoding, however often it was applied, full-width forms and backslashes for the characters themselves.
_AT = r"(?:@|%(?:25)*40|＠|﹫)"
_COLON = r"(?::|%(?:25)*3a|：)"
_SLASH = r"(?:[/\\／＼]|%(?:25)*(?:2f|5c))"
_MARK = r"[?#？＃]"
_ENCODED_MARK = r"%(?:25)*(?:3f|23)"
_EQUALS = r"(?:=|%(?:25)*3d)"
_SCHEME_END = "[a-z0-9+.-]"  # the last character of a scheme is enough to see that there is one
# Names that signed addresses and web APIs give to secrets.
_KEYS = (
    r"(?:x-(?:amz|goog)-[a-z0-9-]+|sig|signature|token|(?:access|private|refresh|auth|id|job|session|security)[_-]?token"
    r"|api[_-]?key|access[_-]?key|secret[_-]?key|awsaccesskeyid|googleaccessid|client[_-]?secret|secret|password|passwd|pwd"
    r"|passphrase|credentials?|authorization)"
)
_USERINFO_IN_ADDRESS = (
    rf"{_SCHEME_END}{_COLON}{_SLASH}{{1,2}}[^/\\?#]*{_AT}"
    rf"|{_SCHEME_END}{_COLON}{_SLASH}{{3,}}[^/\\?#]*{_COLON}[^/\\?#]*{_AT}"
    rf"|{_SCHEME_END}{_COLON}{_SLASH}{{1,2}}[^/\\?#\[]*{_COLON}[^0-9/\\?#\]][^?#]*{_AT}"  # a slash in the password
)
_USERINFO_WITHOUT_SCHEME = rf"\A(?:{_SLASH}{{2}})?[^/\\?#]*{_COLON}[^/\\?#]*{_AT}"
_KEY_WITH_VALUE = rf"(?:[?&;#]|%(?:25)*(?:3f|26|23|3b)){_KEYS}{_EQUALS}"
_QUERY = rf"{_SCHEME_END}{_COLON}{_SLASH}[^?#]*{_MARK}|{_ENCODED_MARK}[^/\\]*{_EQUALS}"
# Read alike by Python, by RE2 (CEL in the API server) and by Oniguruma (jq), hence \A: what no address of a Model may have.
# ``SECRET_IN_TEXT`` is what no other text may have, such as a title, which may hold addresses.
SECRET_IN_ADDRESS = rf"(?i){_USERINFO_IN_ADDRESS}|{_USERINFO_WITHOUT_SCHEME}|{_QUERY}|{_KEY_WITH_VALUE}"
SECRET_IN_TEXT = rf"(?i){_USERINFO_IN_ADDRESS}|{_KEY_WITH_VALUE}"

SECRET_RULE = "write no user name, password, query or fragment into an address: secrets stand there, and many read an address"
BUCKET_CREDENTIALS = (
    "Credentials of a bucket are those that its library finds (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS and others)."
)
SOURCE_CREDENTIALS = (
    "Clone a private repository with Git LFS, and name the clone's folder as the source, with `sourceKind: upload`. "
    + BUCKET_CREDENTIALS
)
WHERE_SECRETS_GO = (
    f"{BUCKET_CREDENTIALS} Those of a registry are made by `docker login`, those of a package index stand in PIP_INDEX_URL."
)
SECRET_NAME = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIALS?|API_?KEY)(_|$)|_KEY$", re.IGNORECASE)

_FIND_ADDRESS, _FIND_TEXT = re.compile(SECRET_IN_ADDRESS), re.compile(SECRET_IN_TEXT)
_IMAGE_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")  # looks like the host after a user name and a password
_FIND_USERINFO = re.compile(rf"{_USERINFO_IN_ADDRESS}|{_USERINFO_WITHOUT_SCHEME}", re.IGNORECASE)

_LEAD = rf"(?P<lead>{_SCHEME_END}{_COLON}{_SLASH}+)"
_NO_PROJECT = r"(?!project=[a-z0-9:-]+[.,;]?(?:\s|$))"  # Google Cloud's console needs it in the address of a log
_NO_PORT = r"(?![0-9]{1,5}(?:[^0-9]|$)|(?-i:PORT|\[?:?PORT)|[\s\]<{$]|$)"


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# In this order: what one has cut, the next ones leave alone.
_CUTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_compiled(rf"{_LEAD}[^\s/\\?#]*{_AT}"), rf"\g<lead>{ELLIPSIS}@"),
    (_compiled(rf"{_LEAD}[^\s/\\?#\[]*{_COLON}{_NO_PORT}\S*{_AT}"), rf"\g<lead>{ELLIPSIS}@"),  # a slash, ? or # in the password
    (_compiled(rf"{_LEAD}[^\s/\\?#\['\"]*{_COLON}{_NO_PORT}[^@＠﹫]{{0,300}}?{_AT}"), rf"\g<lead>{ELLIPSIS}@"),  # white space
    (_compiled(rf"{_LEAD}[^\s/\\?#\['\"]*{_COLON}{_NO_PORT}[^\s/\\?#]*"), rf"\g<lead>{ELLIPSIS}"),  # cut before the host
    (_compiled(rf"(?P<lead>(?:^|(?<=[\s'\"=(])){_SLASH}{{2}})[^\s/\\?#]*{_COLON}[^\s/\\?#]*{_AT}"), rf"\g<lead>{ELLIPSIS}@"),
    (
        _compiled(
            rf"(?<![\w@/.:%+…-])(?!(?-i:serviceAccount|mailto|group):)[^\s:/\\@'\"=,(\[{{…]+?{_COLON}(?![/\\])[^\s@/\\…]+?{_AT}(?!sha256:)(?=[\w.-])"
        ),
        f"{ELLIPSIS}@",
    ),
    (
        _compiled(rf"(?P<lead>{_SCHEME_END}{_COLON}{_SLASH}[^\s?#？＃]*{_MARK}){_NO_PROJECT}\S+?(?=['\")\]>.,;:]*(?:\s|$))"),
        rf"\g<lead>{ELLIPSIS}",
    ),
    (_compiled(rf"{_ENCODED_MARK}[^\s/\\]*{_EQUALS}\S*?(?=['\")\]>.,;:]*(?:\s|$))"), f"?{ELLIPSIS}"),
    (_compiled(rf"(?<![\w-])(?P<key>{_KEYS}){_EQUALS}[^\s&;'\"<>]+"), rf"\g<key>={ELLIPSIS}"),
    (
        _compiled(
            r"\b(?P<key>(?:proxy-)?authorization|private-token|x-auth-token|(?:set-)?cookie)(?P<gap>['\"]?\s*[:=]\s*['\"]?)"
            r"(?:(?:basic|bearer|digest|negotiate)\s+)?[^\s'\"]+"
        ),
        rf"\g<key>\g<gap>{ELLIPSIS}",
    ),
    (_compiled(r"\b(?P<key>basic|bearer)\s+[a-z0-9+/=._~-]{16,}"), rf"\g<key> {ELLIPSIS}"),
)
_LONG = 8192  # characters that are gone through at once; longer lines are shortened
_SHORTEST = 4  # characters of a password that is looked for in texts: a shorter one is in every other word
_SHORTEST_NAMED = 8  # of the value of a variable whose name is that of a secret
# Variables whose addresses may have credentials: proxies, package indexes and the like.
_ADDRESSES = re.compile(r"(\w+_)?proxy|(PIP|UV)_\w+|\w+_(URL|URI|DSN|ENDPOINT)", re.IGNORECASE)
_USERINFO = re.compile(r"://(?P<user>[^\s/@:]*)(?::(?P<password>[^\s/@]*))?@")

ValueT = TypeVar("ValueT")


def find_secret(value: str, *, address: bool = True) -> str:
    """Say what in a value from outside can be a secret: the end of a sentence, empty where there is nothing.

    Args:
        value: An address, a folder, an image's name; any other text is one in which nothing is found.
        address: Whether the value as a whole may be an address; otherwise only addresses inside of it are looked for.
    """
    value = _IMAGE_DIGEST.sub("", value)
    if not (_FIND_ADDRESS if address else _FIND_TEXT).search(value):
        return ""
    return "a user name or a password" if _FIND_USERINFO.search(value) else "a query or a fragment, which can hold secrets"


def check_no_secret(value: str, *, address: bool = True) -> None:
    """Raise ``ValueError`` for a value with a place for secrets; the message shows the value without them."""
    if what := find_secret(value, address=address):
        raise ValueError(f"{redact_address(value)!r} has {what}. {WHERE_SECRETS_GO}")


def check_no_secrets(value: object) -> None:
    """Do the same for a text and for each text of a tuple: the value of a field."""
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str):
            check_no_secret(text)


def redact_address(value: str) -> str:
    """Return an address for a message: without the places where secrets stand. Another value stays as it is.

    More is cut than by ``redact``, which has to guess where an address begins and ends.
    """
    if not find_secret(value):
        return redact(value)
    lead = re.match(rf"\s*[a-z0-9+.-]*{_COLON}{_SLASH}*", value, re.IGNORECASE)
    before = lead.group().strip() if lead and re.search(_SLASH, lead.group(), re.IGNORECASE) else ""
    mark = re.search(rf"{_MARK}|{_ENCODED_MARK}|[&;]", value, re.IGNORECASE)
    ats = [found.end() for found in re.finditer(_AT, value, re.IGNORECASE)]
    if ats and (mark is None or mark.start() > ats[-1]):
        return f"{before}{ELLIPSIS}@{redact(value[ats[-1] : mark.start() if mark else None])}"
    if mark and not any(at < mark.start() for at in ats):
        return f"{redact(value[: mark.start()])}?{ELLIPSIS}"
    return f"{before}{ELLIPSIS}"  # @ on both sides of ? or #: which of them belongs to a password is not to be told


def redact(text: str) -> str:
    """Return a text without the secrets in its addresses, headers and parameters, and without those of the environment."""
    return _redact(text) if len(text) <= _LONG else "\n".join(map(_redact, _pieces(text)))


def _pieces(text: str) -> Iterator[str]:
    """Whole lines of a long text, as many together as are gone through at once; a longer line is shortened."""
    piece: list[str] = []
    size = 0
    for line in text.split("\n"):
        kept = line if len(line) <= _LONG else f"{line[:_LONG]}{ELLIPSIS}"
        if piece and size + len(kept) > _LONG:
            yield "\n".join(piece)
            piece, size = [], 0
        piece.append(kept)
        size += len(kept) + 1
    yield "\n".join(piece)


def redact_values(value: ValueT) -> ValueT:
    """Return a value of JSON in which every text is one of ``redact``; the names of fields stay."""
    match value:
        case str():
            return redact(value)  # type: ignore[return-value]
        case list():
            return [redact_values(item) for item in value]  # type: ignore[return-value]
        case dict():
            return {key: redact_values(item) for key, item in value.items()}  # type: ignore[return-value]
        case _:
            return value


def without_userinfo(text: str, instead: str = "") -> str:
    """Return addresses with ``instead`` in place of user name and password: the same place for whoever may use it."""
    return re.sub(r"//[^/@\s]*@", f"//{instead}", text)


def _redact(text: str) -> str:
    for secret in _secrets_of_environment():
        text = text.replace(secret, ELLIPSIS)
    for pattern, instead in _CUTS:
        text = pattern.sub(instead, text)
    return text


def _secrets_of_environment() -> list[str]:
    """The passwords of proxies and package indexes, and the values of variables that are called secrets; the longest first."""
    found: set[str] = set()
    for name, value in os.environ.items():
        if "@" in value and _ADDRESSES.fullmatch(name):
            for each in _USERINFO.finditer(value):
                secret, shortest = (each["password"], _SHORTEST) if each["password"] else (each["user"], _SHORTEST_NAMED)
                found |= {part for part in (secret, urllib.parse.unquote(secret)) if len(part) >= shortest}
        elif SECRET_NAME.search(name) and len(value) >= _SHORTEST_NAMED and "/" not in value and not value.endswith(".json"):
            found.add(value)
    return sorted(found, key=len, reverse=True)

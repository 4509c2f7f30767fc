"""What comes with the address of an LFS object: headers that the request for it needs, and when the address expires.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md, "Successful Responses". The headers are for that address alone,
which may be on another host than the LFS server: an object store, with an ``Authorization`` or an ``X-Ms-Version`` of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

MAX_HEADERS = 50
MAX_VALUE = 16 << 10  # characters; tokens have thousands
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # what http.client can send, and no line end
# How the message is framed, by which connection it goes, which part is wanted: for the client to say (RFC 9110, 7.6.1).
_OURS = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "connection", "keep-alive", "expect"),
        *("accept-encoding", "content-encoding", "range", "if-range", "if-match", "if-none-match", "if-modified-since"),
        *("if-unmodified-since", "cookie", "user-agent"),
    }
)
_LONGEST = 2**31 - 1  # seconds of expires_in, by the specification


def action_headers(found: object) -> dict[str, str] | None:
    """The headers of an action that are sent; None where they are malformed. Those that are the client's own are left out."""
    if found is None:
        return {}
    if not isinstance(found, Mapping) or len(found) > MAX_HEADERS:
        return None
    headers: dict[str, str] = {}
    for name, value in found.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return None
        if not isinstance(value, str) or len(value) > MAX_VALUE or not _VALUE.fullmatch(value):
            return None
        if value and name.lower() not in _OURS and not name.lower().startswith("proxy-"):
            headers[name] = value.strip()
    return headers


def action_expiry(action: Mapping[str, object], asked: datetime) -> datetime | None:
    """When the address of an action expires; None where the answer does not say, and for a time that has passed already.

    Such a time is that of a server whose clock differs: to ask again would bring the same.
    """
    seconds = action.get("expires_in")
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds <= _LONGEST:
        return asked + timedelta(seconds=float(seconds))
    text = action.get("expires_at")
    if not isinstance(text, str) or not text:
        return None
    try:
        expires = datetime.fromisoformat(text)
    except ValueError:
        return None
    if expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    return expires if expires > asked else None

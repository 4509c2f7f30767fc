"""What a server says in an answer that is not the one that was hoped for: its own sentence, safe to show.

The forms are those of Git LFS and GitHub (``message``), Hugging Face (``error``, or the header ``X-Error-Message``), registries
(``errors`` with ``code`` and ``message``), OAuth 2.0 (``error_description``) and problem details (RFC 9457: ``detail``,
``title``), object stores (XML with ``Code`` and ``Message``), and plain text. A web page is none: it is named as what it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping

from steps.core.errors import SlipwayError
from steps.core.json_reader import ANSWER, read_json
from steps.core.redaction import redact
from steps.core.text import display_text
from steps.net.http import Response

MAX_ERROR = 64 << 10  # bytes of an answer that are looked at
MAX_SENTENCE = 300  # characters that are shown
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; those of Google's and Azure's stores are alike.
_XML_ERROR = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?<Error[\s>]")
_XML_FIELD = r"<{name}>([^<]*)</{name}>"
_KEYS = ("message", "error_description", "detail", "error", "title", "reason")
WEB_PAGE = "a web page, such as a proxy's or a login's"


def server_sentence(response: Response, secrets: Iterable[str] = ()) -> str:
    """The sentence in the answer, on one line, without queries of addresses and without ``secrets``; empty where there is none.

    The answer is read, as far as it is looked at.
    """
    text = _sentence(response)
    for secret in secrets:
        text = text.replace(secret, "…")
    return display_text(" ".join(redact(text).split()), MAX_SENTENCE).rstrip(".")


def answered(response: Response, host: str, secrets: Iterable[str] = ()) -> str:
    """``HOST answered STATUS``, with the server's sentence in brackets where it has one."""
    sentence = server_sentence(response, secrets)
    return f"{host} answered {response.status}" + (f" ({sentence})" if sentence else "")


def is_web_page(response: Response, data: bytes) -> bool:
    """Whether an answer with this body, or the beginning of it, is made for a browser."""
    kind = response.header("Content-Type").partition(";")[0].strip().lower()
    return (
        kind in ("text/html", "application/xhtml+xml")
        or re.match(rb"\s*<(!doctype html|html)", data, re.IGNORECASE) is not None
    )


def _sentence(response: Response) -> str:
    data = bytearray()
    try:
        for chunk in response.chunks(MAX_ERROR):
            data += chunk
    except SlipwayError:  # longer than what is looked at, or cut: what came is enough
        pass
    try:
        found = _in_json(read_json(bytes(data), ANSWER))
    except ValueError:
        found = None
        if (in_xml := _in_xml(data.decode("utf-8", "replace").lstrip("\ufeff"))) is not None:
            found = in_xml
        elif is_web_page(response, bytes(data)):
            found = WEB_PAGE if not response.header("X-Error-Message") else None
        elif response.header("Content-Type").lower().startswith("text/plain"):
            found = next((line for line in data.decode("utf-8", "replace").splitlines() if line.strip()), None)
    return found or response.header("X-Error-Message").encode("latin-1", "replace").decode("utf-8", "replace")


def _in_xml(text: str) -> str | None:
    if _XML_ERROR.match(text) is None:
        return None
    found = (re.search(_XML_FIELD.format(name=name), text) for name in ("Code", "Message"))
    return ": ".join(part for match in found if match and (part := html.unescape(match[1]).strip())) or None


def _in_json(document: object) -> str | None:
    if isinstance(document, str):
        return document
    if not isinstance(document, Mapping):
        return None
    errors = document.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        parts = [str(errors[0][key]) for key in ("code", "message") if isinstance(errors[0].get(key), str)]
        if parts:
            return ": ".join(parts)
    for key in _KEYS:
        value = document.get(key)
        if isinstance(value, Mapping):
            value = value.get("message")
        if isinstance(value, str) and value.strip():
            return value
    return None

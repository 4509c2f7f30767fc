"""What a registry's 401 asks for: the header ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Either the name of a scheme, or a parameter of the scheme before it with its value, quoted or a token.
_PART = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)(?:\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+)))?")


def read_challenges(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """The parameters of each scheme, by their names in lower case; of two challenges of a scheme, the first."""
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        parameters: dict[str, str] = {}
        for match in _PART.finditer(line):
            name, quoted, plain = match.groups()
            if quoted is not None or plain is not None:
                parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted or plain or ""))
            else:
                parameters = {}
                found.setdefault(name.lower(), parameters)
    return found

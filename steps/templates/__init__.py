"""Generated text: Jinja2 templates, and the one way to fill them.

Values enter a template only through an encoder (``json``, whose texts and lists are literals of Python and YAML alike) or are
constants and digests made by Slipway; no text of a model or of a user is ever put into code, YAML or a Dockerfile.
"""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent


def fill(template: str, *, escape: bool = False, **values: object) -> str:
    """Fill a template of this folder with values and return the text.

    ``escape`` escapes HTML in the values. A name that the template uses and ``values`` does not have is an error (jinja2's
    ``UndefinedError``).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        autoescape=escape,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=True, sort_keys=True)
    return environment.get_template(template).render(**values)

"""Markdown as the pages use it: headings, tables and code, in the dialect of GitHub (https://github.github.com/gfm/)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 128  # characters a line
NOTICE = "<!-- Made by `make pages` from the code: change the code instead. -->"


def page(title: str, *parts: str) -> str:
    """Return a page of a title and parts, each a paragraph, heading, table or code block."""
    return "\n\n".join([NOTICE, f"# {title}", *(wrapped(part.strip("\n")) for part in parts if part)]) + "\n"


def wrapped(part: str) -> str:
    """Break the lines of paragraphs; headings, tables, lists and code stay as they are."""
    paragraphs = part.split("\n\n")
    return "\n\n".join(
        text
        if text.startswith(("#", "|", "-", "    ", "```"))
        else textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)
        for text in paragraphs
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are Markdown, in which a line break becomes a space and a bar is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines)


def cell(text: str) -> str:
    """Return Markdown as the content of a table's cell."""
    return " ".join(text.split()).replace("|", r"\|")


def code(text: object) -> str:
    """Return a text as inline code; nothing for an empty text."""
    return f"`{text}`" if str(text) else ""


def sentence(text: str) -> str:
    """Return a description as a sentence, with a capital letter and a full stop."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith((".", "…")) else ".")


def from_docstring(text: str) -> str:
    """Return the prose of a docstring as Markdown: double backquotes become single ones."""
    return re.sub(r"``(.+?)``", r"`\1`", text).strip()

"""A report as tests read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import Failure, execute
from steps.report import STEP, ReportInputs
from steps.store.local import LocalStore
from tests.steps.reporting.sample_run import (
    RUN,
)

TEXT, TOKENS, IMAGE = "text-classification", "token-classification", "image-classification"
KEY = f"runs/{RUN}/report.html"
# Every attribute of HTML and SVG that makes a browser load, go or do something.
REFERENCES = {"src", "srcset", "href", "xlink:href", "action", "formaction", "data", "poster", "background", "ping", "manifest"}


class Page(HTMLParser):
    """A parsed report: its tags, its attributes, and its text in one line."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self._in_style = False
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        self._part(tag)

    def _part(self, tag: str) -> None:
        """What elements hold is apart for a reader; only ``wbr`` stands within a word."""
        if tag != "wbr":
            self._texts.append(" ")

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        else:
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())

    def attributes(self) -> Iterator[tuple[str, str, str]]:
        for tag, attributes in self.tags:
            for name, value in attributes.items():
                yield tag, name, value or ""

    def outcome(self) -> tuple[str, str]:
        """The outcome's tone and the page's title."""
        tone = next(attributes["class"] for tag, attributes in self.tags if attributes.get("aria-label") == "Outcome")
        title = re.search(r"<title>(.*?)</title>", self.html)
        assert tone is not None
        assert title is not None
        return tone.removeprefix("outcome "), title[1].partition(": ")[2]


def report(context: Context, status: str = "") -> Page:
    execute(STEP, ReportInputs(report_run=RUN, status=status), context, run=RUN)
    return page(context)


def page(context: Context) -> Page:
    return Page(b"".join(context.store.read(KEY)).decode())


def path(context: Context, key: str) -> Path:
    assert isinstance(context.store, LocalStore)
    return context.store.path(key)


def failure(reason: Reason, message: str = "It broke.") -> Failure:
    return Failure.from_error(SlipwayError(reason, message))


def change(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b" ")

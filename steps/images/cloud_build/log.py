"""The end of a build's log: the object ``log-<id>.txt`` in the bucket and folder that the build names.

https://cloud.google.com/build/docs/securing-builds/store-manage-build-logs
"""

from __future__ import annotations

from steps.core.errors import SlipwayError
from steps.core.text import display_text
from steps.images.cloud_build.client import Build
from steps.store.gcs import GcsPrefix

MAX_LINES = 15
MAX_LINE = 300  # characters of a line that are shown
MAX_BYTES = 64 * 1024  # read from the end of the log


def read_log_end(build: Build) -> str:
    """The last lines of a build's log, or why there are none: a log that cannot be read hides no failure."""
    if not build.logs:
        return "It has no log in a bucket."
    name = f"log-{build.id}.txt"
    try:
        below = GcsPrefix.from_uri(build.logs if build.logs.startswith("gs://") else f"gs://{build.logs}")
        found = below.find(name)
        if found is None or not found.size:
            return f"There is no log at {below.locate(name)}."
        data = below.read_end(found, MAX_BYTES)
    except SlipwayError as error:
        return f"Its log cannot be read: {error.message}"
    lines = [line.rstrip() for line in data.decode(errors="replace").splitlines() if line.strip()]
    return "\n".join(display_text(line, MAX_LINE) for line in lines[-MAX_LINES:])

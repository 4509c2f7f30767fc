"""The ``Accept`` header: whether a client prefers JSON or a file."""

from __future__ import annotations

JSON = "application/json"


def prefers_file(accept: str, file_type: str, file_first: bool) -> bool:
    """Decide between JSON and a file by the rules of RFC 9110, section 12.5.1.

    Args:
        accept: The header's value, which may be empty; ranges that cannot be read are passed over.
        file_type: The media type of the file that is offered beside ``application/json``.
        file_first: What to send if the client prefers neither.

    Returns:
        Whether to send the file.
    """
    weights = {file_type: 0.0, JSON: 0.0}
    specificity: dict[str, int] = {}  # of the range that gave an offer its weight: 0 is the media type itself, 2 is */*
    for part in (accept or "*/*").split(","):
        media_range, *parameters = (each.strip().lower() for each in part.split(";"))
        quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            weight = float(quality)
        except ValueError:
            continue
        for offer in weights:
            ranges = [offer, f"{offer.partition('/')[0]}/*", "*/*"]
            if media_range in ranges and ranges.index(media_range) <= specificity.get(offer, 2):
                specificity[offer] = ranges.index(media_range)
                weights[offer] = weight
    if weights[file_type] == weights[JSON]:
        return file_first
    return weights[file_type] > weights[JSON]

"""Reading films, whatever people send: single frames of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from ..runner import BadInput

MAX_SECONDS = 600.0
MAX_FRAMES = 20_000
MAX_PIXELS = 4096 * 2304  # of a frame
MAX_WORK = 20_000_000_000  # pixels of all frames that have to be unpacked: five minutes in HD
NAMES = "MP4, WebM, MKV, AVI, MPEG, FLV, WMV or OGV"
# FFmpeg's names. It knows hundreds more; some of them open other files, or addresses, that a file names.
FORMATS = ("mov", "matroska", "avi", "mpeg", "mpegts", "flv", "asf", "ogg")
CODECS = (
    *("h264", "hevc", "libdav1d", "av1", "vp8", "libvpx", "vp9", "libvpx-vp9", "mpeg4", "mpeg1video", "mpeg2video"),
    *("msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "wmv3", "vc1", "h263", "flv", "theora", "mjpeg", "prores", "rawvideo"),
)
_OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "codec_whitelist": ",".join((*CODECS, "aac", "mp3float", "opus", "vorbis")),  # sound is looked at on opening
    "protocol_whitelist": "none",
    "max_pixels": str(4 * MAX_PIXELS),  # on opening, so that a somewhat larger film can be told what is wrong with it
}


def read_frames(data: bytes, count: int, every: int | None = None, field: str = "video") -> Iterator[Any]:
    """``count`` frames of a film, each an array (height, width, 3) of RGB bytes, turned upright.

    They are spread evenly over the whole film, or, with ``every``, over its first ``count * every`` frames: just as the video
    processors of transformers take them, or its pipeline (``every`` is ``frame_sampling_rate`` there). Raises ``BadInput``
    naming ``field``.
    """
    import numpy as np

    if every is None:
        total = sum(1 for _ in _decode(data, set(), field))  # what the head says of it need not be true
        if total < count:
            raise BadInput(f"{field}: it has {total} frames; at least {count} are needed")
        wanted = [index * total // count for index in range(count)]
    else:
        wanted = [int(index) for index in np.linspace(0, count * every - 1, num=count)]
    seen = 0
    for seen, frame in enumerate(_decode(data, set(wanted), field), start=1):
        if frame is not None:
            yield frame
            if seen > wanted[-1]:
                return
    raise BadInput(f"{field}: it has {seen} frames; at least {wanted[-1] + 1} are needed")


def _decode(data: bytes, wanted: set[int], field: str) -> Iterator[Any]:
    """One after the other, the frames at the places ``wanted``, None for the others."""
    import av

    pixels, first = 0, None
    try:
        with av.open(io.BytesIO(data), "r", options=_OPTIONS) as container:
            stream = container.streams.video[0]
            if stream.codec_context is None or stream.codec_context.name not in CODECS:
                raise BadInput(f"{field}: the way its pictures are coded is not known here; send H.264, for one")
            if stream.width * stream.height > MAX_PIXELS:
                raise BadInput(f"{field}: {stream.width}x{stream.height} pixels; up to {MAX_PIXELS} are read")
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            for index, frame in enumerate(container.decode(stream)):
                first = first if first is not None else frame.time
                pixels += frame.width * frame.height
                if index >= MAX_FRAMES or pixels > MAX_WORK:
                    raise BadInput(f"{field}: more than {MAX_FRAMES} frames, or {MAX_WORK} pixels in all of them")
                if frame.time is not None and first is not None and frame.time - first > MAX_SECONDS:
                    raise BadInput(f"{field}: longer than {MAX_SECONDS:g} seconds")
                yield _upright(frame) if index in wanted else None
    except BadInput:
        raise
    except (av.FFmpegError, IndexError, ValueError, OverflowError, UnicodeError):
        raise BadInput(f"{field}: this is no film that can be read, or it is damaged ({NAMES})") from None


def _upright(frame: Any) -> Any:
    """The frame as an array, turned as its display matrix says: telephones write films lying."""
    import numpy as np

    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4))

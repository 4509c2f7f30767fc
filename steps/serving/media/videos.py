"""Videos: reading single frames of files of the usual formats."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..runner import BadInput

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

MAX_SECONDS = 600.0
MAX_FRAMES = 20_000
MAX_PIXELS = 4096 * 2304  # of a frame
MAX_WORK = 20_000_000_000  # pixels of all frames that are decoded: five minutes in HD
NAMES = "MP4, WebM, MKV, AVI, MPEG, FLV, WMV or OGV"
# FFmpeg's names. It reads hundreds more; some open other files, or addresses, that a file names.
FORMATS = ("mov", "matroska", "avi", "mpeg", "mpegts", "flv", "asf", "ogg")
CODECS = (
    *("h264", "hevc", "libdav1d", "av1", "vp8", "libvpx", "vp9", "libvpx-vp9", "mpeg4", "mpeg1video", "mpeg2video"),
    *("msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "wmv3", "vc1", "h263", "flv", "theora", "mjpeg", "prores", "rawvideo"),
)
_OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "codec_whitelist": ",".join((*CODECS, "aac", "mp3float", "opus", "vorbis")),  # opening a file probes its sound, too
    "protocol_whitelist": "none",
    "max_pixels": str(4 * MAX_PIXELS),  # more than allowed, so that an error can say how large it is
}


def read_frames(data: bytes, count: int, every: int | None = None, field: str = "video") -> Iterator[NDArray[np.uint8]]:
    """Yield frames of a video, decoding no more of it than needed.

    Args:
        data: The file, in one of ``FORMATS`` with one of ``CODECS``.
        count: How many frames.
        every: None spreads the frames evenly over the whole video, as the video processors of transformers do. A number
            spreads them over the first ``count * every`` frames, as its pipeline does (``frame_sampling_rate`` there).
        field: The name of the request's field, for errors.

    Yields:
        Frames in RGB, each of shape (height, width, 3), turned upright.

    Raises:
        BadInput: If it cannot be decoded, has too few frames, or exceeds the limits of this module.
    """
    import numpy as np

    if every is None:
        total = sum(1 for _ in _decode(data, set(), field))  # the number in the header need not be true
        if total < count:
            raise BadInput(f"{field}: it has {total} frames; at least {count} are needed")
        selected = [index * total // count for index in range(count)]
    else:
        selected = [int(index) for index in np.linspace(0, count * every - 1, num=count)]
    seen = 0
    for seen, frame in enumerate(_decode(data, set(selected), field), start=1):
        if frame is not None:
            yield frame
            if seen > selected[-1]:
                return
    raise BadInput(f"{field}: it has {seen} frames; at least {selected[-1] + 1} are needed")


def _decode(data: bytes, selected: set[int], field: str) -> Iterator[NDArray[np.uint8] | None]:
    """Yield one entry a frame: the frame if its index is ``selected``, else None."""
    import av

    pixels, first = 0, None
    try:
        with av.open(io.BytesIO(data), "r", options=_OPTIONS) as container:
            stream = container.streams.video[0]
            if stream.codec_context is None or stream.codec_context.name not in CODECS:
                raise BadInput(f"{field}: its codec is not read; send H.264, for example")
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
                yield _upright(frame) if index in selected else None
    except BadInput:
        raise
    except (av.FFmpegError, IndexError, ValueError, OverflowError, UnicodeError):
        raise BadInput(f"{field}: this is not a video that can be read, or it is damaged ({NAMES})") from None


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """The frame as an array, turned by its display matrix: telephones store videos in the sensor's orientation."""
    import numpy as np

    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4))

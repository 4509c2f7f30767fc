"""What clients post as a video: its frames are read, or it is refused by name; no file makes the service fail."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.serving.media import videos
from steps.serving.media.videos import read_frames
from steps.serving.runner import BadInput
from steps.tasks.video import VIDEO

KINDS = (
    *(("mp4", "libx264"), ("mp4", "mpeg4"), ("mov", "libx264"), ("matroska", "libx264"), ("webm", "libvpx")),
    *(("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("avi", "mjpeg"), ("mpegts", "mpeg2video"), ("mpeg", "mpeg1video")),
    *(("flv", "flv"), ("asf", "wmv2")),
)


@functools.cache
def video(kind: str = "mp4", codec: str = "libx264", frames: int = 24, width: int = 64, height: int = 48) -> bytes:
    """Each frame is brighter than the last by ten; the upper left quarter is black."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            picture = np.full((height, width, 3), 10 * (number % 24) + 10, np.uint8)
            picture[: height // 2, : width // 2] = 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def numbers(frames: Any) -> list[int]:
    """Which frames they are, by their brightness."""
    return [round(float(frame[-8:, -8:].mean()) / 10) - 1 for frame in frames]


@pytest.mark.parametrize(("kind", "codec"), KINDS)
def test_the_usual_formats_are_read(kind: str, codec: str) -> None:
    frames = list(read_frames(video(kind, codec), 8))
    assert {(frame.shape, str(frame.dtype)) for frame in frames} == {((48, 64, 3), "uint8")}
    assert numbers(frames) == [0, 3, 6, 9, 12, 15, 18, 21]


@pytest.mark.slow
def test_frames_are_spread_as_by_video_processors() -> None:
    from transformers.video_utils import VideoMetadata, default_sample_indices_fn

    for count in (1, 2, 5, 8, 16, 23, 24):
        expected = default_sample_indices_fn(VideoMetadata(total_num_frames=24, fps=25), num_frames=count)
        assert numbers(read_frames(video(), count)) == expected.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("count", "every"), [(1, 1), (8, 1), (8, 2), (8, 3), (5, 4), (24, 1)])
def test_every_nth_frame_is_taken_as_by_pipelines(count: int, every: int) -> None:
    import av
    from transformers.pipelines.video_classification import read_video_pyav

    indices = np.linspace(0, count * every - 1, num=count, dtype=np.int64)
    expected = read_video_pyav(av.open(io.BytesIO(video())), indices)
    assert np.array_equal(np.stack(list(read_frames(video(), count, every))), expected)


def turned(degrees: int) -> bytes:
    """The video with the matrix that telephones write (ISO/IEC 14496-12, 8.3.2): to be shown turned clockwise."""
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    data = bytearray(video("mov"))
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)
    return bytes(data)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_video_is_turned_upright(degrees: int) -> None:
    expected = np.rot90(next(read_frames(video("mov"), 1)), -degrees // 90)
    assert np.array_equal(next(read_frames(turned(degrees), 1)), expected)


@pytest.mark.parametrize(("count", "every"), [(25, None), (1000, None), (25, 1), (8, 4)])
def test_a_video_that_is_too_short_is_refused(count: int, every: int | None) -> None:
    with pytest.raises(BadInput, match=r"^video: it has 24 frames; at least \d+ are needed$"):
        list(read_frames(video(), count, every))


@pytest.mark.parametrize("every", [None, 1])
def test_frames_that_are_too_large_are_refused(every: int | None) -> None:
    with pytest.raises(BadInput, match=r"^video: 4100x2304 pixels"):
        list(read_frames(video("avi", "mjpeg", 1, 4100, 2304), 1, every))


@pytest.mark.parametrize(("limit", "value"), [("MAX_FRAMES", 23), ("MAX_SECONDS", 0.9), ("MAX_WORK", 23 * 64 * 48)])
def test_a_video_that_is_too_long_is_refused(limit: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(read_frames(video(), 24))) == 24
    monkeypatch.setattr(videos, limit, value)
    with pytest.raises(BadInput, match=r"^clip: "):
        list(read_frames(video(), 2, field="clip"))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"hello", video()[:300], b"\x1a\x45\xdf\xa3" + bytes(100), b"RIFF\0\0\0\0AVI "),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    ],
)
def test_files_that_name_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"^video: this is not a video that can be read"):
        list(read_frames(data, 2))


def test_a_sound_is_not_a_video() -> None:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(BadInput, match=r"^video: this is not a video"):
        list(read_frames(buffer.getvalue(), 1))


@pytest.mark.slow
@settings(max_examples=300)
@given(
    kind=st.sampled_from(KINDS),
    changes=st.lists(st.tuples(st.integers(0, 20_000), st.binary(max_size=4)), min_size=1, max_size=6),
    every=st.sampled_from([None, 1, 3]),
)
def test_a_damaged_video_is_a_video_or_refused(
    kind: tuple[str, str], changes: list[tuple[int, bytes]], every: int | None
) -> None:
    data = video(*kind, frames=6)
    for at, piece in changes:
        at %= len(data)
        data = data[:at] + piece + data[at + len(piece) :] if piece else data[: max(at, 1)]
    with contextlib.suppress(BadInput):
        assert [frame.ndim for frame in read_frames(data, 2, every)] == [3, 3]


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"^video: "):
        list(read_frames(data, 1))


def test_the_golden_video_has_enough_frames() -> None:
    assert len(list(read_frames((GOLDEN_FILES / VIDEO).read_bytes(), 24))) == 24

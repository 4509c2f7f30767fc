"""What clients post as a sound: it is read at the model's rate, or refused by name; no file makes the service fail."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import wave
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.serving.media.sounds import MAX_CHANNELS, encode_wav, read_sound
from steps.serving.runner import BadInput

RATE = 16_000
KINDS = (
    *(("WAV", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
    *(("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("AIFF", "PCM_16")),
    *(("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
)


@functools.cache
def sound(kind: str = "WAV", coding: str = "PCM_16", rate: int = 48_000, channels: int = 2, seconds: float = 0.5) -> bytes:
    """A tone of 440 Hz, half as loud as can be, in all channels."""
    import soundfile

    buffer = io.BytesIO()
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    soundfile.write(buffer, np.stack([tone] * channels, axis=1), rate, coding, format=kind)
    return buffer.getvalue()


def loudest_pitch(samples: Any) -> float:
    """In Hz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


@pytest.mark.parametrize(("kind", "coding"), KINDS)
def test_the_usual_formats_are_read(kind: str, coding: str) -> None:
    samples = read_sound(sound(kind, coding), RATE)
    assert (samples.dtype, samples.ndim) == (np.dtype(np.float32), 1)
    assert len(samples) == pytest.approx(RATE / 2, abs=RATE / 10)  # MP3 and Opus come in frames
    assert loudest_pitch(samples) == pytest.approx(440, abs=5)
    assert 0.4 < np.abs(samples[RATE // 10 : RATE // 3]).max() < 0.6


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 16_000, 22_050, 44_100, 96_000, 192_000])
def test_every_rate_becomes_the_models(rate: int) -> None:
    samples = read_sound(sound(rate=rate), RATE)
    assert len(samples) == pytest.approx(RATE / 2, abs=1)
    assert loudest_pitch(samples) == pytest.approx(440, abs=0.1)
    assert 0.49 < np.abs(samples[RATE // 10 : -RATE // 10]).max() < 0.51


@pytest.mark.parametrize("channels", [1, 2, 6, MAX_CHANNELS])
def test_channels_are_mixed_into_one(channels: int) -> None:
    both = read_sound(sound(rate=RATE, channels=channels), RATE)
    assert np.allclose(both, read_sound(sound(rate=RATE, channels=1), RATE), atol=1e-6)


def test_what_the_channels_have_apart_is_halved() -> None:
    left = np.sin(np.arange(RATE) / 10)
    mixed = read_sound(encode_wav(np.stack([left, np.zeros(RATE)]), RATE), RATE)
    assert np.allclose(mixed, left / 2, atol=1e-4)


def test_a_sound_at_the_models_rate_stays() -> None:
    samples = (np.arange(-8000, 8000) / 32767).astype(np.float32)
    assert np.allclose(read_sound(encode_wav(samples, RATE), RATE), samples * 32767 / 32768, atol=1e-9)


@pytest.mark.parametrize(("rate", "channels"), [(999, 1), (768_001, 1), (2**31 - 1, 1), (RATE, MAX_CHANNELS + 1), (RATE, 1024)])
def test_odd_rates_and_crowds_of_channels_are_refused(rate: int, channels: int) -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(2 * channels * 2000))
    with pytest.raises(BadInput, match=r"^audio: "):
        read_sound(buffer.getvalue(), RATE)


def test_the_length_of_a_sound_is_limited() -> None:
    with pytest.raises(BadInput, match=r"^speech: longer than 2 seconds$"):
        read_sound(sound("FLAC", seconds=2.1), RATE, field="speech", seconds=2)
    assert len(read_sound(sound("FLAC", seconds=2), RATE, seconds=2)) == 2 * RATE


@pytest.mark.slow
def test_long_silence_is_refused_before_decoding() -> None:
    """An hour in a hundred kilobytes."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(3600 * 8000, np.int16), 8000, "PCM_16", format="FLAC")
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(BadInput, match="longer than 60 seconds"):
        read_sound(buffer.getvalue(), RATE)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.099])
def test_a_sound_that_is_too_short_is_refused(seconds: float) -> None:
    with pytest.raises(BadInput, match=r"^audio: .* at least 0.1 are needed$"):
        read_sound(sound(seconds=seconds), RATE)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, 32767])
def test_numbers_that_are_no_sound_are_refused(value: float) -> None:
    data = bytearray(sound(coding="FLOAT"))
    data[-400:-396] = struct.pack("<f", value)
    with pytest.raises(BadInput, match=r"^audio: it has samples that are not sound"):
        read_sound(bytes(data), RATE)


def test_a_header_with_a_wrong_length_is_harmless() -> None:
    data = bytearray(sound(rate=RATE, channels=1))
    data[40:44] = struct.pack("<I", 2**32 - 64)  # so many bytes of samples
    assert len(read_sound(bytes(data), RATE)) == RATE / 2


@pytest.mark.parametrize("kind", ["AU", "CAF", "VOC", "W64", "IRCAM", "NIST"])
def test_formats_that_nobody_sends_are_not_read(kind: str) -> None:
    with pytest.raises(BadInput, match=r"^audio: .*WAV, FLAC, MP3, OGG or AIFF"):
        read_sound(sound(kind), RATE)


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS" + bytes(60), b"ID3" + bytes(60)])
def test_what_is_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"^audio: this is not a sound that can be read"):
        read_sound(data, RATE)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    kind=st.sampled_from([("WAV", "PCM_16"), ("WAV", "IMA_ADPCM"), *KINDS]),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=4)), min_size=1, max_size=6),
)
def test_a_damaged_sound_is_a_sound_or_refused(kind: tuple[str, str], changes: list[tuple[int, bytes]]) -> None:
    data = sound(*kind, rate=8000, seconds=0.2)
    for at, piece in changes:
        at %= len(data)
        data = data[:at] + piece + data[at + len(piece) :] if piece else data[: max(at, 1)]
    with contextlib.suppress(BadInput):
        found = read_sound(data, RATE)
        assert np.isfinite(found).all()
        assert len(found) <= 61 * RATE


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"^audio: "):
        read_sound(data, RATE)


def test_samples_beyond_full_scale_are_clipped() -> None:
    with wave.open(io.BytesIO(encode_wav([0.5, 2, -2, float("nan")], RATE))) as file:
        assert np.frombuffer(file.readframes(4), "<i2").tolist() == [16384, 32767, -32767, 0]


def test_two_channels_are_interleaved() -> None:
    with wave.open(io.BytesIO(encode_wav([[1, 1, 1], [0, 0, 0]], RATE))) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 3)
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [32767, 0] * 3

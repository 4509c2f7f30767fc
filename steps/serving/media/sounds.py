"""Sound: reading files of the usual formats at a model's sampling rate, and writing WAV files."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

from ..runner import BadInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from soundfile import SoundFile

MAX_SECONDS = 60.0
MIN_SECONDS = 0.1  # the first layers of models need as much
RATES = (1_000, 768_000)  # Hz
MAX_CHANNELS = 64
# libsndfile's names. It reads two dozen more, which clients do not send.
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "MP3", "OGG", "AIFF")
NAMES = "WAV, FLAC, MP3, OGG or AIFF"
_BLOCK = 1 << 20  # samples, of all channels together, that are decoded at once
_LOUDEST = 100.0  # full scale is 1; files of floats exceed it, but not by that much


def read_sound(data: bytes, rate: int, field: str = "audio", seconds: float = MAX_SECONDS) -> NDArray[np.float32]:
    """Decode a file.

    Args:
        data: The file, in one of ``FORMATS``.
        rate: The sampling rate of the result, in Hz.
        field: The name of the request's field, for errors.
        seconds: How long the sound may be.

    Returns:
        The samples, of shape (samples,); full scale is 1. Several channels are mixed into one.

    Raises:
        BadInput: If it cannot be decoded or is longer, shorter or otherwise outside the limits of this module.
    """
    import numpy as np
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(_SeekableBytes(data)) as file:
            _check_header(file, field)
            change = None if file.samplerate == rate else soxr.ResampleStream(file.samplerate, rate, 1, quality="HQ")
            found, length, most = [np.zeros(0, np.float32)], 0, int(seconds * file.samplerate)
            # In blocks: the length in the header need not be true, and an hour of silence is a small file.
            while len(block := file.read(_BLOCK // file.channels, dtype="float32", always_2d=True)):
                length += len(block)
                if length > most:
                    raise BadInput(f"{field}: longer than {seconds:g} seconds")
                mixed = block.mean(axis=1)
                if not np.isfinite(mixed).all() or np.abs(mixed).max() > _LOUDEST:
                    raise BadInput(f"{field}: it has samples that are not sound; floating-point samples lie between -1 and 1")
                found.append(change.resample_chunk(mixed) if change else mixed)
            if length < MIN_SECONDS * file.samplerate:
                raise BadInput(f"{field}: {length / file.samplerate:.3f} seconds; at least {MIN_SECONDS} are needed")
            return np.concatenate([*found, change.resample_chunk(found[0], last=True)] if change else found)
    except BadInput:
        raise
    except Exception:  # LibsndfileError, and whatever odd headers cause
        raise BadInput(f"{field}: this is not a sound that can be read ({NAMES})") from None


class _SeekableBytes(io.BytesIO):
    """A file in memory for libsndfile, which seeks before the start of some damaged files.

    An exception would not reach it through its callback, but would be printed to the service's log.
    """

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Seek as ``io.BytesIO`` does, but no further back than to the start."""
        start = (0, self.tell(), len(self.getbuffer()))[whence]
        return super().seek(max(0, start + offset))


def _check_header(file: SoundFile, field: str) -> None:
    """Raise ``BadInput`` for a format, a sampling rate or a number of channels that is not read."""
    if file.format not in FORMATS:
        raise BadInput(f"{field}: {file.format} is not read; send {NAMES}")
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise BadInput(f"{field}: {file.samplerate} Hz; {RATES[0]} to {RATES[1]} Hz are read")
    if file.channels > MAX_CHANNELS:
        raise BadInput(f"{field}: {file.channels} channels; up to {MAX_CHANNELS} are read")


def encode_wav(samples: ArrayLike, rate: int) -> bytes:
    """Samples as a WAV file of 16 bits (RIFF, PCM).

    ``samples`` has the shape (samples,) or (channels, samples). Full scale is 1; louder samples are clipped. ``rate`` is in Hz.
    """
    import numpy as np

    channels = np.atleast_2d(np.nan_to_num(np.asarray(samples, dtype=np.float32)))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(np.clip(channels, -1, 1).T * 32767).astype("<i2").tobytes())
    return buffer.getvalue()

"""Reading sound, whatever people send, and writing it."""

from __future__ import annotations

import io
import wave
from typing import Any

from ..runner import BadInput

MAX_SECONDS = 60.0
MIN_SECONDS = 0.1  # shorter than any model's first layers need
RATES = (1_000, 768_000)  # Hz
MAX_CHANNELS = 64
# libsndfile knows two dozen more, which nobody sends.
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "MP3", "OGG", "AIFF")
NAMES = "WAV, FLAC, MP3, OGG or AIFF"
_BLOCK = 1 << 20  # samples, over all channels, that are unpacked at once
_LOUDEST = 100.0  # full scale is 1; float files go beyond it, but not by that much


def read_sound(data: bytes, rate: int, field: str = "audio", seconds: float = MAX_SECONDS) -> Any:
    """The sound, its channels mixed into one, as a float32 array at ``rate`` Hz. Raises ``BadInput`` naming ``field``."""
    import numpy as np
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check_head(file, field)
            change = None if file.samplerate == rate else soxr.ResampleStream(file.samplerate, rate, 1, quality="HQ")
            found, length, most = [np.zeros(0, np.float32)], 0, int(seconds * file.samplerate)
            # Piece by piece: what the head says about the length need not be true, and an hour of silence is a small file.
            while len(block := file.read(_BLOCK // file.channels, dtype="float32", always_2d=True)):
                length += len(block)
                if length > most:
                    raise BadInput(f"{field}: longer than {seconds:g} seconds")
                mixed = block.mean(axis=1)
                if not np.isfinite(mixed).all() or np.abs(mixed).max() > _LOUDEST:
                    raise BadInput(f"{field}: it has samples that are no sound; floating-point samples lie between -1 and 1")
                found.append(change.resample_chunk(mixed) if change else mixed)
            if length < MIN_SECONDS * file.samplerate:
                raise BadInput(f"{field}: {length / file.samplerate:.3f} seconds; at least {MIN_SECONDS} are needed")
            return np.concatenate([*found, change.resample_chunk(found[0], last=True)] if change else found)
    except BadInput:
        raise
    except Exception:  # LibsndfileError and whatever the reading of odd heads raises
        raise BadInput(f"{field}: this is no sound that can be read ({NAMES})") from None


def _check_head(file: Any, field: str) -> None:
    if file.format not in FORMATS:
        raise BadInput(f"{field}: {file.format} is not read; send {NAMES}")
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise BadInput(f"{field}: {file.samplerate} Hz; {RATES[0]} to {RATES[1]} Hz are read")
    if file.channels > MAX_CHANNELS:
        raise BadInput(f"{field}: {file.channels} channels; up to {MAX_CHANNELS} are read")


def encode_wav(samples: Any, rate: int) -> bytes:
    """Samples, of shape (n,) or (channels, n), as a WAV file of 16 bits. Full scale is 1; what is louder is cut off."""
    import numpy as np

    channels = np.atleast_2d(np.nan_to_num(np.asarray(samples, dtype=np.float32)))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(np.clip(channels, -1, 1).T * 32767).astype("<i2").tobytes())
    return buffer.getvalue()

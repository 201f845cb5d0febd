"""Uploaded audio files."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.errors import InputError
from sca.infer.server.core.errors import RequestRejectedError
from sca.units import HEARD_HZ

__all__ = ["decode_upload"]

_MIN_RATE_HZ, _MAX_RATE_HZ = 1000, 192_000


def decode_upload(data: bytes, max_s: float) -> NDArray[np.float32]:
    """Decode an audio file to float32 mono `(n,)` at 16 kHz. Never holds more than `max_s` of it.

    Args:
        data: The file.
        max_s: The longest audio, in seconds.

    Raises:
        RequestRejectedError: It is longer (413), or not audio that can be read (422).
    """
    with TemporaryDirectory(prefix="sca-") as folder:
        path = Path(folder) / "upload"
        path.write_bytes(data)
        try:
            with BlockReader(path) as reader:
                rate_hz = reader.info.rate_hz
                if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
                    raise RequestRejectedError(
                        422, f"the audio has {rate_hz} Hz; supported are {_MIN_RATE_HZ}-{_MAX_RATE_HZ} Hz"
                    )
                resampler = StreamResampler(rate_hz, HEARD_HZ)
                pieces = []
                for block in reader:
                    if reader.frames > max_s * rate_hz:
                        raise RequestRejectedError(413, f"the audio is longer than {max_s:g} s")
                    pieces.append(resampler.push(block))
                joined = np.concatenate([*pieces, resampler.flush()])
        except InputError as error:
            raise RequestRejectedError(422, error.message.replace(str(path), "the file")) from error
    return np.clip(joined, -1, 1, out=joined)

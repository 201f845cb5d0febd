"""Try the ffmpeg program on a second of an MPEG transport stream, as HLS streams and broadcasts have.

Static builds of version 7 crash on every transport stream, and nothing else shows it.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sca.data.media.ffmpeg import FfmpegProgram, FfmpegRunner
from sca.data.media.transcode_formats import AudioFormat
from sca.errors import ScaError

__all__ = ["transport_stream_fault"]

_RATE_HZ = 48_000


def transport_stream_fault(program: FfmpegProgram) -> str | None:
    """Return how a program fails on a transport stream, or None if it reads it.

    Args:
        program: The executable.
    """
    with TemporaryDirectory(prefix="sca-") as folder:
        source, target = Path(folder) / "second.ts", Path(folder) / "second.flac"
        _write_second(source)
        try:
            FfmpegRunner(program).run(AudioFormat().transcode_command(source, target, soxr=False))
        except (ScaError, OSError) as error:
            return str(error)
        return None if target.exists() else "ffmpeg wrote no file"


def _write_second(path: Path) -> None:
    import av

    noise = np.random.default_rng(0).normal(0, 0.1, (1, _RATE_HZ)).astype(np.float32)
    with av.open(str(path), "w", format="mpegts") as out:
        stream = out.add_stream("aac", rate=_RATE_HZ)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(noise, "fltp", "mono")
        frame.sample_rate, frame.pts = _RATE_HZ, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))

"""Try the ffmpeg program on a second of an MPEG transport stream, as HLS streams and broadcasts have.

Static builds of version 7 crash on every transport stream, and nothing else shows it. They can write one.
"""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from sca.data.media.ffmpeg import FfmpegProgram, url

__all__ = ["transport_stream_fault"]

_TIME_LIMIT_S = 20


def transport_stream_fault(program: FfmpegProgram) -> str | None:
    """Return how a program fails on a transport stream, or None if it reads it.

    Args:
        program: The executable.
    """
    with TemporaryDirectory(prefix="sca-") as folder:
        source, target = Path(folder) / "second.ts", Path(folder) / "second.flac"
        made = _run(program, "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", "-f", "mpegts", url(source))
        read = _run(program, "-i", url(source), "-f", "flac", url(target))
        fault = made or read
        return fault if fault is not None or target.exists() else "ffmpeg wrote no file"


def _run(program: FfmpegProgram, *arguments: str) -> str | None:
    """Run ffmpeg, and return how it failed."""
    command = [program.path, "-nostdin", "-v", "error", *arguments]
    try:
        code = subprocess.run(command, capture_output=True, check=False, timeout=_TIME_LIMIT_S).returncode
    except (OSError, subprocess.SubprocessError) as error:
        return f"ffmpeg does not run: {error}"
    if code < 0:
        return f"ffmpeg crashed with signal {-code}"
    return None if code == 0 else f"ffmpeg failed with exit code {code}"

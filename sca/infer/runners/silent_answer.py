"""Why a session between files has an output without speech."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.audio.vad import shared_vad, speech_segments
from sca.config import LiveConfig
from sca.infer.engine import EngineInfo
from sca.infer.runners.file import FileReport
from sca.units import HEARD_HZ

__all__ = ["silence_reason"]


def silence_reason(source: Path, report: FileReport, engine: EngineInfo, live: LiveConfig) -> str | None:
    """Return why the output of a session has no speech, in one line, or None if it has some.

    Args:
        source: The input file, which is read again.
        report: The result of the session.
        engine: The engine of the session.
        live: The settings of turn detection.

    Raises:
        InputError: The input can no longer be read.
    """
    if report["turns"]:
        return None
    if report["turns_begun"]:
        return f"{source} ends before the answer begins: add silence at its end"
    end_s, total_s = _last_speech(source)
    if end_s is None:
        return f"no speech was found in {source}"
    quiet_s, needed_s = total_s - end_s, live.end_of_turn_ms / 1000
    if engine.follows_turns and quiet_s < needed_s + report["chunk_samples_16k"] / HEARD_HZ:
        return (
            f"{source} ends {quiet_s:.2f} s after its last speech, so nobody finished a turn: "
            f"a turn ends after {needed_s:.2f} s of silence. Add silence at its end, also for the answer"
        )
    return f"{engine.name} gave no answer to {source}, which has speech until {end_s:.2f} s"


def _last_speech(source: Path) -> tuple[float | None, float]:
    """Return the end of the last speech and the length, in seconds."""
    stream, samples = shared_vad().stream(), 0
    found = []
    for block in _heard(source):
        samples += len(block)
        found.append(stream.push(block))
    segments = speech_segments(np.concatenate(found), total_samples=samples)
    return segments[-1][1] / HEARD_HZ if segments else None, samples / HEARD_HZ


def _heard(source: Path) -> Iterator[NDArray[np.float32]]:
    with BlockReader(source) as reader:
        resampler = StreamResampler(reader.info.rate_hz, HEARD_HZ)
        for block in reader:
            yield resampler.push(block)
        yield resampler.flush()

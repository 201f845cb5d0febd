"""Ask a turn server often, and tell how it did: a small load, for a look at a server, not for the last word on it.

Also where the sound comes from that it, and others, are asked about.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sca.audio.decode import BlockReader, read_audio
from sca.audio.resample import StreamResampler
from sca.errors import ConfigError, ScaError
from sca.infer.turn.client.http import TurnAnswer, TurnClient
from sca.resources import demo_corpus
from sca.units import HEARD_HZ

__all__ = ["SAMPLE_S", "LoadResult", "end_of", "run_load", "shipped_speech"]

SAMPLE_S = 8
"""How much sound is asked about."""


def end_of(path: Path, seconds: float = SAMPLE_S) -> np.ndarray:
    """The last seconds of a sound file of any format, float32 `(n,)` at 16 kHz; memory does not grow with the file.

    Raises `InputError` like `sca.audio.decode.read`.
    """
    keep = round(seconds * HEARD_HZ)
    held: deque[np.ndarray] = deque()
    samples = 0
    with BlockReader(path) as reader:
        # All of it is resampled: cut off anywhere, the end would be heard a fraction of a sample later.
        resampler = StreamResampler(reader.info.rate_hz, HEARD_HZ)
        for block in chain(map(resampler.push, reader), map(StreamResampler.flush, [resampler])):
            held.append(block)
            samples += len(block)
            while samples - len(held[0]) >= keep:
                samples -= len(held.popleft())
    end = np.concatenate(held)[-keep:]
    return np.clip(end, -1, 1, out=end)


def shipped_speech() -> np.ndarray:
    """Some seconds of the synthetic speaker that ships with sca, float32 `(n,)` at 16 kHz."""
    with demo_corpus() as folder:
        return read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", HEARD_HZ)[: SAMPLE_S * HEARD_HZ]


@dataclass(slots=True)
class LoadResult:
    """What a load met.   latencies_s: of answered questions, in no order.   errors: the others, counted by what they said.

    last: the latest answer.
    """

    concurrency: int
    latencies_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    first_error: ScaError | None = None
    wall_s: float = 0.0
    last: TurnAnswer | None = None

    def document(self) -> dict[str, Any]:
        """The result as JSON, times in ms."""
        found = np.array(self.latencies_s) * 1000
        percentiles = {
            f"p{p}_ms": round(float(np.percentile(found, p)), 2) if len(found) else None for p in (50, 95, 99)
        }
        return {
            "requests": len(found) + self.errors.total(),
            "answered": len(found),
            "concurrency": self.concurrency,
            **percentiles,
            "max_ms": round(float(found.max()), 2) if len(found) else None,
            "requests_per_s": round(len(found) / self.wall_s, 2) if self.wall_s else 0.0,
            "wall_s": round(self.wall_s, 3),
            "errors": dict(self.errors),
            "probability": None if self.last is None else self.last.probability,
        }


def run_load(
    client: Callable[[], TurnClient],
    samples: np.ndarray,
    *,
    concurrency: int = 1,
    requests: int | None = None,
    seconds: float | None = None,
) -> LoadResult:
    """Ask about float32 `(n,)` at 16 kHz over `concurrency` connections, until `requests` were sent or `seconds` are over.

    Refusals and failures are counted and do not end it; but a wrong key does, since it would fail every time: `ConfigError`.
    """
    result = LoadResult(concurrency)
    lock = threading.Lock()
    began_s = time.monotonic()
    left = requests
    wrong_key: list[ConfigError] = []

    def take() -> bool:
        nonlocal left
        with lock:
            if wrong_key or (seconds is not None and time.monotonic() - began_s >= seconds):
                return False
            if left is not None:
                left -= 1
            return left is None or left >= 0

    def ask_on() -> None:
        with client() as one:
            while take():
                sent_s = time.perf_counter()
                try:
                    answer = one.ask(samples)
                except ConfigError as error:
                    wrong_key.append(error)
                except ScaError as error:
                    with lock:
                        result.errors[error.message] += 1
                        result.first_error = result.first_error or error
                else:
                    with lock:
                        result.latencies_s.append(time.perf_counter() - sent_s)
                        result.last = answer

    threads = [threading.Thread(target=ask_on, daemon=True) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong_key:
        raise wrong_key[0]
    result.wall_s = time.monotonic() - began_s
    return result

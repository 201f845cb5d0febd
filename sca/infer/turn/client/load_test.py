"""A small load test of a turn server, and the audio for it."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sca.audio.decode import BlockReader, read_audio
from sca.audio.resample import StreamResampler
from sca.errors import ConfigError, ScaError
from sca.infer.turn.client.http import TurnClient
from sca.infer.turn.client.wire import TurnResponse
from sca.resources import demo_corpus
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["SAMPLE_S", "LoadTestResult", "last_seconds", "padded_end", "run_load_test", "sample_of", "shipped_speech"]

SAMPLE_S = 8
"""The duration of the audio in a request."""


def last_seconds(path: Path, seconds: float = SAMPLE_S) -> NDArray[np.float32]:
    """Return the last seconds of an audio file of any format, in bounded memory.

    Args:
        path: The file.
        seconds: The duration.

    Returns:
        Float32 `(n,)` at 16 kHz.

    Raises:
        InputError: The file cannot be read.
    """
    keep = seconds_to_samples(seconds, HEARD_HZ)
    blocks: deque[NDArray[np.float32]] = deque()
    samples = 0
    with BlockReader(path) as reader:
        # The whole file is resampled: starting elsewhere would shift the result by a fraction of a sample.
        resampler = StreamResampler(reader.info.rate_hz, HEARD_HZ)
        for block in chain(map(resampler.push, reader), map(StreamResampler.flush, [resampler])):
            blocks.append(block)
            samples += len(block)
            while samples - len(blocks[0]) >= keep:
                samples -= len(blocks.popleft())
    end = np.concatenate(blocks)[-keep:]
    return np.clip(end, -1, 1, out=end)


def padded_end(path: Path, seconds: float | None, window_s: float = SAMPLE_S) -> NDArray[np.float32]:
    """Return the last seconds of an audio file, with zeros before them if it is shorter, as a model pads them.

    Args:
        path: The file.
        seconds: The duration of the result; None for the last `window_s` of the file without padding.
        window_s: See `seconds`.

    Returns:
        Float32 `(n,)` at 16 kHz.

    Raises:
        InputError: The file cannot be read.
    """
    return _padded(last_seconds(path, window_s if seconds is None else seconds), seconds)


def sample_of(path: Path | None, seconds: float | None = None) -> NDArray[np.float32]:
    """Return the audio of a request: `padded_end` of a file, or speech of this package.

    Args:
        path: The file; None for speech of this package.
        seconds: The duration; None for 8 s, or the whole file if it is shorter.
    """
    return _padded(shipped_speech(), seconds) if path is None else padded_end(path, seconds)


def _padded(samples: NDArray[np.float32], seconds: float | None) -> NDArray[np.float32]:
    if seconds is None:
        return samples
    size = seconds_to_samples(seconds, HEARD_HZ)
    return np.pad(samples[-size:], (max(0, size - len(samples)), 0))


def shipped_speech() -> NDArray[np.float32]:
    """Return 8 s of the synthetic speech in this package, float32 `(n,)` at 16 kHz."""
    with demo_corpus() as folder:
        return read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", HEARD_HZ)[: SAMPLE_S * HEARD_HZ]


@dataclass(slots=True)
class LoadTestResult:
    """The result of a load test.

    Attributes:
        concurrency: How many connections were used.
        latencies_s: The duration of each successful request, in no particular order.
        errors: How many requests failed, by message.
        first_error: The first error.
        wall_s: The duration of the test.
        last: The latest response.
    """

    concurrency: int
    latencies_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    first_error: ScaError | None = None
    wall_s: float = 0.0
    last: TurnResponse | None = None

    @property
    def answered(self) -> int:
        """How many requests succeeded."""
        return len(self.latencies_s)

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self.answered + self.errors.total()

    def percentile_ms(self, percent: float) -> float | None:
        """Return a percentile of the latencies; None if no request succeeded."""
        if not self.latencies_s:
            return None
        return round(float(np.percentile(np.array(self.latencies_s) * 1000, percent)), 2)

    def document(self) -> dict[str, object]:
        """Return the result for JSON, with times in ms."""
        return {
            "requests": self.requests,
            "answered": self.answered,
            "concurrency": self.concurrency,
            **{f"p{percent}_ms": self.percentile_ms(percent) for percent in (50, 95, 99)},
            "max_ms": self.percentile_ms(100),
            "requests_per_s": round(self.answered / self.wall_s, 2) if self.wall_s else 0.0,
            "wall_s": round(self.wall_s, 3),
            "errors": dict(self.errors),
            "probability": None if self.last is None else self.last.probability,
        }


class _LoadTest:
    """The state that the threads of a load test share."""

    def __init__(
        self, samples: NDArray[np.float32], concurrency: int, requests: int | None, seconds: float | None
    ) -> None:
        self.result = LoadTestResult(concurrency)
        self.fatal: BaseException | None = None
        self._samples, self._left, self._seconds = samples, requests, seconds
        self._lock = threading.Lock()
        self._started_s = time.monotonic()

    def _take_request(self) -> bool:
        """Return whether another request should be sent, and count it."""
        with self._lock:
            if self.fatal or (self._seconds is not None and self.elapsed_s() >= self._seconds):
                return False
            if self._left is not None:
                self._left -= 1
            return self._left is None or self._left >= 0

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def run(self, client: TurnClient) -> None:
        """Send requests on one connection until the test is over. An error of the test itself ends it for all."""
        try:
            self._send_requests(client)
        except BaseException as error:  # noqa: BLE001 - raised by `run_load_test`
            self.fatal = self.fatal or error

    def _send_requests(self, client: TurnClient) -> None:
        with client:
            while self._take_request():
                sent_s = time.perf_counter()
                try:
                    response = client.predict(self._samples)
                except ConfigError:  # the key, so that every request would fail
                    raise
                except ScaError as error:
                    with self._lock:
                        self.result.errors[error.message] += 1
                        self.result.first_error = self.result.first_error or error
                else:
                    with self._lock:
                        self.result.latencies_s.append(time.perf_counter() - sent_s)
                        self.result.last = response


def run_load_test(
    new_client: Callable[[], TurnClient],
    samples: NDArray[np.float32],
    *,
    concurrency: int = 1,
    requests: int | None = None,
    seconds: float | None = None,
) -> LoadTestResult:
    """Send requests until one of the limits is reached. Failed requests are counted.

    Args:
        new_client: Creates the client of a connection.
        samples: Float32 `(n,)` at 16 kHz.
        concurrency: How many connections are used.
        requests: How many requests are sent.
        seconds: How long requests are sent.

    Returns:
        The result.

    Raises:
        ConfigError: The key is wrong, so that every request would fail.
        UsageError: The address is wrong.
        BaseException: What any connection's thread raised, besides the failures of requests.
    """
    test = _LoadTest(samples, concurrency, requests, seconds)
    clients = [new_client() for _ in range(concurrency)]  # here, where a wrong address or key is raised
    threads = [threading.Thread(target=test.run, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if test.fatal is not None:
        raise test.fatal
    test.result.wall_s = test.elapsed_s()
    return test.result

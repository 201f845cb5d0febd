"""A session over an array in memory, in simulated time."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.pcm import pcm16_samples
from sca.config import LiveConfig, Settings, load_settings
from sca.infer.clock import Clock, LoopClock, simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.engine import Engine, SessionConfig
from sca.infer.frames import AudioOutput
from sca.infer.generation import GenerationOptions
from sca.infer.interfaces import AudioBlock, AudioSource, BaseListener, SessionListener
from sca.infer.runners.offline_io import TrackSink, paced_blocks
from sca.infer.session.loop import LiveSession
from sca.infer.session.pacing import spoken_length
from sca.infer.session.report import Turn, TurnTimes
from sca.infer.session.stats import SessionStats
from sca.infer.session.track_writer import PcmBuffer, TrackWriter
from sca.units import Grid

__all__ = ["ArraySink", "ArraySource", "EngineRun", "run_engine"]


class ArraySource(AudioSource):
    """An array as the input of a session.

    Args:
        samples: Float32 `(n,)` at 16 kHz in [-1, 1].
        clock: The session clock, which sets the pace.
        grid: The grid of the session.

    Raises:
        ValueError: `samples` has another dtype or shape.
    """

    can_wait = True

    def __init__(self, samples: NDArray[np.float32], clock: Clock, grid: Grid | None = None) -> None:
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {samples.dtype} {samples.shape}")
        self._samples = samples
        self._clock = clock
        self._chunk_samples = (Grid() if grid is None else grid).heard_samples

    @override
    def blocks(self) -> AsyncIterator[AudioBlock]:
        return paced_blocks([self._samples], self._clock, self._chunk_samples)


class ArraySink(TrackSink):
    """The output of a session as an array. After the session it is exactly as long as the input.

    Args:
        clock: The session clock.
        live: Delays and buffer sizes.
    """

    def __init__(self, clock: Clock, live: LiveConfig | None = None) -> None:
        self._buffer = PcmBuffer()
        super().__init__(TrackWriter(self._buffer), clock, LiveConfig() if live is None else live)

    @property
    def samples(self) -> NDArray[np.float32]:
        """The output so far, float32 `(n,)` at 24 kHz."""
        return pcm16_samples(bytes(self._buffer.data))


@dataclass(frozen=True, slots=True)
class EngineRun:
    """The result of `run_engine`.

    Attributes:
        output: What the engine answered, at the time it would have been played: float32 `(n,)` at 24 kHz, as long as
            the input.
        turns: The times of the latest turns of the engine.
        text: The words that the engine spoke.
        stats: The counters of the session.
    """

    output: NDArray[np.float32]
    turns: tuple[Turn, ...]
    text: str
    stats: SessionStats


class _Text(BaseListener):
    def __init__(self) -> None:
        self.pieces: list[str] = []

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        self.pieces.append(frame.text_log)


def run_engine(
    engine: Engine,
    samples: NDArray[np.float32],
    settings: Settings | None = None,
    *,
    listeners: Sequence[SessionListener] = (),
    generation: GenerationOptions | None = None,
) -> EngineRun:
    """Run an engine over an array, as `sca live --file` does over a file, and return what it answered.

    Time is simulated: the run takes as long as the engine computes, and two runs give the same samples. Must not be
    called inside a running event loop.

    Args:
        engine: The engine, for example from `sca.load_engine`.
        samples: The input, float32 `(n,)` at 16 kHz in [-1, 1].
        settings: Grid, prompt and delays; None uses `sca.load_settings()`.
        listeners: Receive the events of the session.
        generation: Options for turn-taking, text and voice; None for those of the engine.

    Raises:
        ValueError: `samples` has another dtype or shape.
        ScaError: The engine fails.

    Example:
        ```python
        import numpy as np

        import sca

        engine = sca.load_engine("parrot")
        samples = np.zeros(32_000, np.float32)  # 2 s at 16 kHz
        run = sca.run_engine(engine, samples)

        assert run.output.shape == (48_000,)  # 2 s at 24 kHz
        assert run.turns == ()  # silence is not answered
        ```
    """
    settings = load_settings() if settings is None else settings
    options = GenerationOptions() if generation is None else generation
    config = SessionConfig(
        grid=settings.grid, prompt=settings.duplex.system_prompt, pace="lockstep", generation=options
    )
    return simulate(_run, engine, samples, settings, config, listeners)


async def _run(
    engine: Engine,
    samples: NDArray[np.float32],
    settings: Settings,
    config: SessionConfig,
    listeners: Sequence[SessionListener],
) -> EngineRun:
    clock, turns, text = LoopClock(), TurnTimes(), _Text()
    sink = ArraySink(clock, settings.live)
    session = LiveSession(
        engine,
        ArraySource(samples, clock, settings.grid),
        sink,
        clock=clock,
        worker=InlineWorker(settings.live.step_cost_ms),
        config=config,
        live=settings.live,
        listeners=[turns, text, *listeners],
    )
    stats = await session.run()
    return EngineRun(sink.samples, tuple(turns.until(spoken_length(stats.heard_samples))), "".join(text.pieces), stats)

"""A session between files: hears any sound file as if it were said now, and writes what would have been heard of the answer.

The output is exactly as long as the input and the answer lies in it where it was heard. In simulated time every step takes
`live.step_cost_ms` and two runs give the same bytes; in real time it takes as long as it takes. Memory does not grow with length.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from sca.audio.chunker import Chunker
from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.config import LiveConfig, Settings
from sca.errors import UsageError, check_target
from sca.infer.clock import TICKS_PER_HEARD_SAMPLE, TICKS_PER_MS, TICKS_PER_SPOKEN_SAMPLE, Clock, LoopClock, simulate
from sca.infer.device_worker import InlineWorker, ThreadWorker
from sca.infer.engine import Engine, SessionConfig
from sca.infer.frames import AudioOutput
from sca.infer.interfaces import AudioBlock, SessionListener
from sca.infer.session.loop import LiveSession
from sca.infer.session.pacing import Playout, spoken_length
from sca.infer.session.recorder import Recorder, Transcript, TurnTimes, timing_report, write_timing_report
from sca.infer.session.wav_writer import TrackWriter, WavWriter
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

__all__ = ["FileSink", "FileSource", "OutputFiles", "run_file"]


class FileSource:
    """A sound file of any format, heard at the pace of `clock` chunk by chunk; a `Source`.

    can_wait: see `Source`; False hears it as a microphone would.   Raises `InputError` like `BlockReader`.
    """

    def __init__(self, path: Path, clock: Clock, grid: Grid | None = None, *, can_wait: bool = True) -> None:
        self._clock = clock
        self._chunk = (Grid() if grid is None else grid).heard_samples
        self._reader = BlockReader(path)
        self.can_wait = can_wait

    @property
    def non_finite(self) -> int:
        """Samples of the file that were no numbers and were replaced by 0, so far."""
        return self._reader.non_finite

    async def blocks(self) -> AsyncIterator[AudioBlock]:
        """See `Source`."""
        chunker = Chunker(self._chunk)
        end = 0
        for resampled in self._resampled():
            for chunk in chunker.push(resampled):
                end += len(chunk)
                yield await self._heard(chunk, end)
        rest = chunker.pending
        last = chunker.flush()
        if last is not None:
            yield await self._heard(last[:rest], end + rest)

    async def _heard(self, samples: np.ndarray, end: int) -> AudioBlock:
        tick = end * TICKS_PER_HEARD_SAMPLE
        await self._clock.sleep_until(tick)
        return AudioBlock(samples, tick)

    def _resampled(self) -> Sequence[np.ndarray] | Any:
        """The file at 16 kHz, in [-1, 1]: a band-limited copy of a loud signal swings beyond its peaks."""
        resampler = StreamResampler(self._reader.info.rate_hz, HEARD_HZ)
        for block in self._reader:
            yield np.clip(resampler.push(block), -1, 1)
        yield np.clip(resampler.flush(), -1, 1)

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()


class FileSink:
    """A track on which sound lies where a listener would have heard it; a `Sink`. Takes at most `live.speak_buffer_ms` ahead."""

    def __init__(self, timeline: TrackWriter, clock: Clock, live: LiveConfig) -> None:
        self._timeline = timeline
        self._clock = clock
        self._playout = Playout(live.playout_delay_ms * TICKS_PER_MS, live.playout_delay_max_ms * TICKS_PER_MS)
        self._most_ahead = live.speak_buffer_ms * TICKS_PER_MS

    async def play(self, frame: AudioOutput) -> int:
        """See `Sink`."""
        now = self._clock.now()
        room_at = now + self._playout.ahead(now) - self._most_ahead
        if room_at > now:
            await self._clock.sleep_until(room_at)
            now = self._clock.now()
        start = self._playout.push(frame.num_samples * TICKS_PER_SPOKEN_SAMPLE, frame.turn_id, now)
        self._timeline.commit(now // TICKS_PER_SPOKEN_SAMPLE)
        self._timeline.put(start // TICKS_PER_SPOKEN_SAMPLE, frame.audio_bytes)
        return start

    def flush(self) -> None:
        """See `Sink`."""
        self._timeline.cut(self._playout.cut(self._clock.now()) // TICKS_PER_SPOKEN_SAMPLE)

    async def finish(self, heard_samples: int) -> None:
        """See `Sink`."""
        self._timeline.finish(spoken_length(heard_samples))


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """What a session leaves behind: the track said, and whatever else was asked for."""

    said: Path
    transcript: Path | None = None
    record: Path | None = None
    timing: Path | None = None

    def check(self, heard: Path) -> None:
        """Raise `UsageError` when the track is no WAV, or two of the files are one, and `OutputError` for what can be no file."""
        if self.said.suffix.lower() != ".wav":
            raise UsageError(f"the output is written as WAV, and {self.said} is called otherwise", hint="name it .wav")
        recorded = [self.record / name for name in ("heard.wav", "said.wav", "events.jsonl")] if self.record else []
        files = [heard, self.said, *(path for path in (self.transcript, self.timing) if path is not None), *recorded]
        for one, other in combinations(files, 2):
            if one.resolve() == other.resolve():
                raise UsageError(f"{one} is named twice; it would be written over")
        for path in files[1:]:
            if path != self.transcript:  # which may be a pipe
                check_target(path)


def run_file(
    heard: Path,
    outputs: OutputFiles,
    engine: Engine,
    settings: Settings,
    *,
    realtime: bool = False,
    listeners: Sequence[SessionListener] = (),
) -> dict[str, Any]:
    """Run a session over `heard`; returns what `timing.json` holds.

    Raises `UsageError`, `InputError` or `OutputError` for files that will not do, and what ends a session (see `LiveSession`).
    """
    outputs.check(heard)
    main = partial(_session, heard, outputs, engine, settings, realtime, listeners)
    return anyio.run(main) if realtime else simulate(main)


async def _session(
    heard: Path,
    outputs: OutputFiles,
    engine: Engine,
    settings: Settings,
    realtime: bool,
    listeners: Sequence[SessionListener],
) -> dict[str, Any]:
    live, clock, turns = settings.live, LoopClock(), TurnTimes()
    config = SessionConfig(grid=settings.grid, prompt=settings.duplex.system_prompt)
    worker = ThreadWorker(engine.info.device) if realtime else InlineWorker(live.step_cost_ms)
    with ExitStack() as opened:
        opened.callback(worker.close)
        source = FileSource(heard, clock, settings.grid)
        opened.callback(source.close)
        wav = opened.enter_context(WavWriter(outputs.said, SPOKEN_HZ))
        watching: list[SessionListener] = [turns, *listeners]
        if outputs.transcript is not None:
            watching.append(opened.enter_context(Transcript(outputs.transcript)))
        if outputs.record is not None:
            watching.append(opened.enter_context(Recorder(outputs.record, with_text=live.record_text)))
        sink = FileSink(TrackWriter(wav), clock, live)
        session = LiveSession(
            engine, source, sink, clock=clock, worker=worker, config=config, live=live, listeners=watching
        )
        stats = await session.run()
        stats.non_finite += source.non_finite
        document = timing_report(engine.info, config, stats, turns)
        if outputs.timing is not None:
            write_timing_report(outputs.timing, document)
        return document | {"said_samples_24k": spoken_length(stats.heard_samples)}

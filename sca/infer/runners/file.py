"""A session between files: the input is an audio file, the output is a WAV file of the same duration.

The answer lies in the output at the time it would have been played. In simulated time every step takes
`live.step_cost_ms` and two runs give the same bytes; in real time a run takes as long as the input. Memory use does not
depend on the length of the input.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Literal

import anyio
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.config import Settings
from sca.errors import UsageError, check_target
from sca.infer.clock import Clock, LoopClock, simulate
from sca.infer.device_worker import InlineWorker, ThreadWorker
from sca.infer.engine import Engine, SessionConfig
from sca.infer.generation import GenerationOptions
from sca.infer.interfaces import AudioBlock, AudioSource, SessionListener
from sca.infer.runners.offline_io import TrackSink, paced_blocks
from sca.infer.session.loop import LiveSession
from sca.infer.session.pacing import spoken_length
from sca.infer.session.recorder import Recorder, Transcript
from sca.infer.session.report import TimingReport, TurnTimes, timing_report, write_report
from sca.infer.session.track_writer import TrackWriter
from sca.infer.session.wav_writer import WavWriter
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

__all__ = ["FileReport", "FileSource", "OutputFiles", "run_file"]


class FileSource(AudioSource):
    """An audio file of any format as the input of a session, at the pace of a clock.

    Args:
        path: The file.
        clock: The session clock.
        grid: The grid of the session.

    Raises:
        InputError: The file cannot be read. See `BlockReader`.
    """

    can_wait = True

    def __init__(self, path: Path, clock: Clock, grid: Grid | None = None) -> None:
        self._clock = clock
        self._chunk_samples = (Grid() if grid is None else grid).heard_samples
        self._reader = BlockReader(path)

    @property
    def non_finite(self) -> int:
        """Samples of the file, so far, that were NaN or infinite and were replaced by 0."""
        return self._reader.non_finite

    @override
    def blocks(self) -> AsyncIterator[AudioBlock]:
        return paced_blocks(self._resampled(), self._clock, self._chunk_samples)

    def _resampled(self) -> Iterator[NDArray[np.float32]]:
        """Yield the file at 16 kHz, clipped: the band-limited version of a loud signal can exceed its peaks."""
        resampler = StreamResampler(self._reader.info.rate_hz, HEARD_HZ)
        for block in self._reader:
            yield np.clip(resampler.push(block), -1, 1)
        yield np.clip(resampler.flush(), -1, 1)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


class FileReport(TimingReport):
    """The result of `run_file`: the contents of `timing.json`, and the length of the output track."""

    said_samples_24k: int


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """The files that a session writes.

    Attributes:
        output: The output track, a WAV file.
        transcript: The text of the turns.
        record: A folder for a `Recorder`.
        timing: The report.
    """

    output: Path
    transcript: Path | None = None
    record: Path | None = None
    timing: Path | None = None

    def check(self, source: Path) -> None:
        """Check that the files can be written and that none of them is the input or another output.

        Args:
            source: The input file.

        Raises:
            UsageError: The output track is not named `.wav`, or a file is given twice.
            OutputError: A file cannot be written.
        """
        if self.output.suffix.lower() != ".wav":
            raise UsageError(f"the output is a WAV file, but {self.output} does not end in .wav", hint="name it .wav")
        recorded = [self.record / name for name in ("heard.wav", "said.wav", "events.jsonl")] if self.record else []
        files = [source, self.output, *(path for path in (self.transcript, self.timing) if path is not None), *recorded]
        for path, other in combinations(files, 2):
            if path.resolve() == other.resolve():
                raise UsageError(f"{path} is given twice; it would be overwritten")
        for path in files[1:]:
            if path != self.transcript:  # the transcript may be a pipe
                check_target(path)


def run_file(
    source: Path,
    outputs: OutputFiles,
    engine: Engine,
    settings: Settings,
    *,
    realtime: bool = False,
    listeners: Sequence[SessionListener] = (),
    generation: GenerationOptions | None = None,
) -> FileReport:
    """Run a session over a file.

    Args:
        source: The input file.
        outputs: The files to write.
        engine: The engine.
        settings: Grid, prompt, delays and buffer sizes.
        realtime: Run in real time instead of simulated time.
        listeners: Receive the events of the session.
        generation: Options for turn-taking, text and voice; None for those of the engine.

    Raises:
        UsageError: The files contradict each other.
        InputError: The input cannot be read.
        OutputError: A file cannot be written.
        ScaError: The session fails; see `LiveSession.run`.
    """
    outputs.check(source)
    options = GenerationOptions() if generation is None else generation
    pace: Literal["realtime", "lockstep"] = "realtime" if realtime else "lockstep"
    config = SessionConfig(grid=settings.grid, prompt=settings.duplex.system_prompt, pace=pace, generation=options)
    main = partial(_run, source, outputs, engine, settings, config, listeners)
    return anyio.run(main) if realtime else simulate(main)


async def _run(
    source_path: Path,
    outputs: OutputFiles,
    engine: Engine,
    settings: Settings,
    config: SessionConfig,
    listeners: Sequence[SessionListener],
) -> FileReport:
    live, clock, turns = settings.live, LoopClock(), TurnTimes()
    realtime = config.pace == "realtime"
    worker = ThreadWorker(engine.info.device) if realtime else InlineWorker(live.step_cost_ms)
    with ExitStack() as opened:
        opened.callback(worker.close)
        source = FileSource(source_path, clock, settings.grid)
        opened.callback(source.close)
        wav = opened.enter_context(WavWriter(outputs.output, SPOKEN_HZ))
        all_listeners: list[SessionListener] = [turns, *listeners]
        if outputs.transcript is not None:
            all_listeners.append(opened.enter_context(Transcript(outputs.transcript)))
        if outputs.record is not None:
            all_listeners.append(opened.enter_context(Recorder(outputs.record, with_text=live.record_text)))
        sink = TrackSink(TrackWriter(wav), clock, live)
        session = LiveSession(
            engine, source, sink, clock=clock, worker=worker, config=config, live=live, listeners=all_listeners
        )
        stats = await session.run()
        stats.non_finite += source.non_finite
        report = timing_report(engine.info, config, stats, turns)
        if outputs.timing is not None:
            write_report(outputs.timing, report)
        return {**report, "said_samples_24k": spoken_length(stats.heard_samples)}

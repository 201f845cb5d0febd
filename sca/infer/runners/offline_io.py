"""A source and a sink for audio that is not live: input at the pace of the session clock, output onto a track."""

from collections.abc import AsyncIterator, Iterable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.chunker import Chunker
from sca.config import LiveConfig
from sca.infer.clock import TICKS_PER_HEARD_SAMPLE, TICKS_PER_MS, TICKS_PER_SPOKEN_SAMPLE, Clock
from sca.infer.frames import AudioOutput
from sca.infer.interfaces import AudioBlock, AudioSink
from sca.infer.session.pacing import Playout, spoken_length
from sca.infer.session.track_writer import TrackWriter

__all__ = ["TrackSink", "paced_blocks"]


async def paced_blocks(
    blocks: Iterable[NDArray[np.float32]], clock: Clock, chunk_samples: int
) -> AsyncIterator[AudioBlock]:
    """Yield audio in chunks, each at the time at which it would have been captured.

    Args:
        blocks: Float32 `(n,)` at 16 kHz in [-1, 1].
        clock: The session clock.
        chunk_samples: The length of a chunk.
    """
    chunker = Chunker(chunk_samples)
    end = 0

    async def at_its_time(samples: NDArray[np.float32]) -> AudioBlock:
        nonlocal end
        end += len(samples)
        await clock.sleep_until(end * TICKS_PER_HEARD_SAMPLE)
        return AudioBlock(samples, end * TICKS_PER_HEARD_SAMPLE)

    for block in blocks:
        for chunk in chunker.push(block):
            yield await at_its_time(chunk)
    rest = chunker.pending
    last = chunker.flush()
    if last is not None:
        yield await at_its_time(last[:rest])


class TrackSink(AudioSink):
    """A track on which audio lies at the time at which it would have been played.

    Args:
        track: The track, at 24 kHz.
        clock: The session clock.
        live: Delays, and how far ahead of time audio is accepted (`speak_buffer_ms`).
    """

    def __init__(self, track: TrackWriter, clock: Clock, live: LiveConfig) -> None:
        self._track = track
        self._clock = clock
        self._playout = Playout(live.playout_delay_ms * TICKS_PER_MS, live.playout_delay_max_ms * TICKS_PER_MS)
        self._most_ahead = live.speak_buffer_ms * TICKS_PER_MS

    @override
    async def play(self, frame: AudioOutput) -> int:
        now = self._clock.now()
        room_at = now + self._playout.ahead(now) - self._most_ahead
        if room_at > now:
            await self._clock.sleep_until(room_at)
            now = self._clock.now()
        start = self._playout.push(frame.num_samples * TICKS_PER_SPOKEN_SAMPLE, frame.turn_id, now)
        self._track.commit(now // TICKS_PER_SPOKEN_SAMPLE)
        self._track.put(start // TICKS_PER_SPOKEN_SAMPLE, frame.audio_bytes)
        return start

    @override
    def flush(self) -> None:
        self._track.cut(self._playout.cut(self._clock.now()) // TICKS_PER_SPOKEN_SAMPLE)

    @override
    async def finish(self, heard_samples: int) -> None:
        self._track.finish(spoken_length(heard_samples))

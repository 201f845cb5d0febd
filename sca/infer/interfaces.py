"""Where sound comes from, where it goes, and who watches: the three things a door brings to the loop.

A microphone, a file and a socket are a `AudioSource`; a loudspeaker, a file and a socket are a `AudioSink`; a recorder, a live screen and a
protocol's text side are an `SessionListener`. All are called on the event loop and must not block it. Ticks are those of
`sca.infer.clock`: 48 000 a second since the session began, so that a sample at 16 kHz lasts 3 and one at 24 kHz lasts 2.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sca.infer.frames import AudioOutput, ControlFrame, Frame, ThoughtPacket

__all__ = ["AudioBlock", "AudioSink", "AudioSource", "BaseListener", "SessionListener"]


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """Some samples that were heard: float32 mono `(n,)` at 16 kHz, any n.   tick: when the last of them was heard."""

    samples: np.ndarray
    end_tick: int


class AudioSource(Protocol):
    """Where the session hears.

    can_wait: what happens when the session cannot keep up. True (files, networks): the source is not asked for the next block until
    there is room. False (microphones, which cannot wait): the oldest chunk is dropped and counted.
    """

    @property
    def can_wait(self) -> bool:
        """See above."""
        ...

    def blocks(self) -> AsyncIterator[AudioBlock]:
        """Walk what is heard, as it is heard; ends where the sound ends. Raises `InputError` where it breaks."""
        ...


class AudioSink(Protocol):
    """Where the session speaks."""

    async def play(self, frame: AudioOutput) -> int:
        """Take a frame; wait while too much is queued (a cancelled wait must not have taken anything).

        Returns the tick at which its first sample is heard, as far as the sink can tell.
        """
        ...

    def flush(self) -> None:
        """Fall silent now: forget all that was taken and not heard yet."""
        ...

    async def finish(self, heard_samples: int) -> None:
        """The session ends after `heard_samples` at 16 kHz. A loudspeaker plays what it has, a file is cut to that length."""
        ...


class SessionListener(Protocol):
    """Who watches a session; `BaseListener` has them all as no-ops. What these raise ends the session."""

    def on_input(self, samples: np.ndarray, chunk_index: int) -> None:
        """A chunk was heard: float32 `(n,)` at 16 kHz; the last one of a session is as short as it was. Before any is dropped."""
        ...

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """A frame was handed to the sink; its first sample is heard at this sample of 24 kHz since the session began."""
        ...

    def on_flush(self, sample: int) -> None:
        """The sink fell silent at this sample of 24 kHz, whatever `said` announced beyond it."""
        ...

    def on_packet(self, packet: ThoughtPacket) -> None:
        """The engine thought."""
        ...

    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        """The engine stepped a chunk: all it returned, before any of it is passed on. Chunks that were dropped are left out."""
        ...

    def on_control(self, frame: ControlFrame) -> None:
        """A turn ended (all its sound was handed over) or was interrupted, the session lags or fails."""
        ...


class BaseListener:
    """A listener that does nothing; a base to override from."""

    def on_input(self, samples: np.ndarray, chunk_index: int) -> None:
        """See `SessionListener`."""

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """See `SessionListener`."""

    def on_flush(self, sample: int) -> None:
        """See `SessionListener`."""

    def on_packet(self, packet: ThoughtPacket) -> None:
        """See `SessionListener`."""

    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        """See `SessionListener`."""

    def on_control(self, frame: ControlFrame) -> None:
        """See `SessionListener`."""

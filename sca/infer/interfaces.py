"""The interfaces that a transport implements for a live session: audio source, audio sink and event listener.

A microphone, a file and a socket are each an `AudioSource`; a loudspeaker, a file and a socket are each an `AudioSink`;
a recorder, a terminal UI and the text channel of a protocol are each a `SessionListener`. All of them are called on the
event loop and must not block it. Ticks are those of `sca.infer.clock`: 48000 per second since the start of the session.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.infer.frames import (
    AudioOutput,
    ControlFrame,
    Frame,
    Signal,
    ThoughtPacket,
    UserText,
    WrittenEnd,
    WrittenText,
)

__all__ = ["AudioBlock", "AudioSink", "AudioSource", "BaseListener", "SessionListener"]


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A block of input audio of any length.

    Attributes:
        samples: Float32 mono `(n,)` at 16 kHz.
        end_tick: The time at which the last sample was captured.
        added_silence: How many samples at the end are no sound, but silence that the source added.
        signals: What was decided about the turns of the user up to the end of the block.
    """

    samples: NDArray[np.float32]
    end_tick: int
    added_silence: int = 0
    signals: tuple[Signal, ...] = ()


class AudioSource(Protocol):
    """The input of a session."""

    @property
    def can_wait(self) -> bool:
        """What happens if the session cannot keep up.

        True (files, networks): the next block is requested when there is room. False (microphones): the oldest chunk
        is dropped and counted.
        """
        ...

    def blocks(self) -> AsyncIterator[AudioBlock]:
        """Yield the input in real or simulated time, until it ends.

        Raises:
            InputError: The input fails.
        """
        ...


class AudioSink(Protocol):
    """The output of a session."""

    async def play(self, frame: AudioOutput) -> int:
        """Accept a frame; wait while too much audio is queued. A cancelled wait must not have accepted the frame.

        Returns:
            The tick at which its first sample is played, as far as the sink knows.
        """
        ...

    def flush(self) -> None:
        """Stop playing immediately and discard all queued audio."""
        ...

    async def finish(self, heard_samples: int) -> None:
        """End the output. A loudspeaker plays its queue to the end; a file is cut to the length of the input.

        Args:
            heard_samples: The length of the input, in samples at 16 kHz.
        """
        ...


class SessionListener(Protocol):
    """Receives the events of a session.

    An exception in a callback ends the session. `BaseListener` has no-op callbacks.
    """

    def on_input(self, samples: NDArray[np.float32], chunk_index: int) -> None:
        """Called with each chunk of input, before any chunk is dropped.

        Args:
            samples: Float32 `(n,)` at 16 kHz. The last chunk of a session may be shorter than the others.
            chunk_index: The position of the chunk on the grid.
        """
        ...

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """Called when the sink has accepted a frame.

        Args:
            frame: The frame.
            sample: The time at which its first sample is played, in samples at 24 kHz since the start of the session.
        """
        ...

    def on_flush(self, sample: int) -> None:
        """Called when the sink was flushed. Audio that was to be played after `sample` (at 24 kHz) is not played."""
        ...

    def on_packet(self, packet: ThoughtPacket) -> None:
        """Called with the text that the engine generated for a chunk."""
        ...

    def on_user_text(self, frame: UserText) -> None:
        """Called with the words of the user, from an engine that recognizes them."""
        ...

    def on_written(self, frame: WrittenText | WrittenEnd) -> None:
        """Called with the pieces of written answers, and their ends."""
        ...

    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        """Called after each step of the engine, with all its frames, before they are processed.

        Dropped chunks are not stepped.
        """
        ...

    def on_control(self, frame: ControlFrame) -> None:
        """Called when a turn has ended (all its audio is in the sink) or is interrupted, and when the session lags or fails."""
        ...


class BaseListener(SessionListener):
    """A listener whose callbacks do nothing. Override the ones you need."""

    @override
    def on_input(self, samples: NDArray[np.float32], chunk_index: int) -> None:
        pass

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        pass

    @override
    def on_flush(self, sample: int) -> None:
        pass

    @override
    def on_packet(self, packet: ThoughtPacket) -> None:
        pass

    @override
    def on_user_text(self, frame: UserText) -> None:
        pass

    @override
    def on_written(self, frame: WrittenText | WrittenEnd) -> None:
        pass

    @override
    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        pass

    @override
    def on_control(self, frame: ControlFrame) -> None:
        pass

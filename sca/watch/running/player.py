"""The loudspeaker of a session without a page: plays each utterance at its time."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from sca.errors import MissingToolError, ScaError
from sca.infer.audio_io.base import select_device
from sca.infer.audio_io.playback import play
from sca.infer.audio_io.registry import load_backend
from sca.watch.events import Speech
from sca.watch.running.listeners import Listener

__all__ = ["Player"]


class Player:
    """Plays the speech of a session, in a thread.

    Args:
        listener: The events of the session.
        clock: The time of the session, in microseconds.
        backend: The audio backend.
        device: The loudspeaker; None is the default one.

    Attributes:
        error: Why the loudspeaker stopped; None if it did not.

    Raises:
        MissingToolError: A loudspeaker is missing.
        UsageError: The device does not exist.
    """

    def __init__(self, listener: Listener, clock: Callable[[], int], *, backend: str, device: str | None) -> None:
        try:
            select_device(load_backend(backend).devices(), "output", device)
        except MissingToolError as error:
            error.hint = f"{error.hint}; --mute needs none" if error.hint else "--mute needs none"
            raise
        self._listener, self._clock, self._backend, self._device = listener, clock, backend, device
        self._stopped = threading.Event()
        self.error: ScaError | None = None
        self._thread = threading.Thread(target=self._run, name="sca watch loudspeaker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End: what was given to the driver is played, and the rest is not."""
        self._stopped.set()
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        first = next((event for event in self._listener if isinstance(event, Speech)), None)
        if first is None:
            return
        try:
            play(self._blocks(first), first.sample_rate, backend=self._backend, device=self._device)
        except ScaError as error:
            self.error = error

    def _blocks(self, first: Speech) -> Iterator[NDArray[np.float32]]:
        yield self._in_time(first)
        for event in self._listener:
            if self._stopped.is_set():
                return
            if isinstance(event, Speech):
                yield self._in_time(event)

    def _in_time(self, speech: Speech) -> NDArray[np.float32]:
        """Wait until the samples are to be played. The device pads what is between them with silence."""
        wait_s = (speech.play_us - self._clock()) / 1e6
        if wait_s > 0:
            self._stopped.wait(wait_s)
        return speech.samples

"""A recognizer in a thread: the caller adds audio and reads results, and never waits for the model.

A thread that falls behind takes all audio that is waiting and decodes once, so it leaves out partial results and no
audio. On Linux the thread has a low priority, so that a voice that speaks at the same time is not slowed down.
"""

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.errors import InputError, ScaError, UsageError
from sca.infer.recognition.base import Recognition, Recognizer
from sca.units import HEARD_HZ

__all__ = ["ThreadedRecognizer", "UtteranceStream"]

_MAX_WAITING_SAMPLES = 600 * HEARD_HZ
_TAKEN_SAMPLES = 8 * HEARD_HZ
_EXIT_S = 10.0


class UtteranceStream(Protocol):
    """The recognition of one utterance without a thread."""

    @property
    def result(self) -> Recognition:
        """The newest result."""
        ...

    def push(self, samples: NDArray[np.float32], *, every_step: bool = True) -> None:
        """Add audio; `every_step` is false if more audio is waiting than one step."""
        ...

    def finish(self) -> None:
        """Make the result final."""
        ...

    def cancel(self) -> None:
        """Make `push` and `finish` return soon, for another thread. Their result is not used."""
        ...


@dataclass(slots=True)
class _Utterance:
    """What the caller and the thread share about an utterance. The lock of the recognizer protects it."""

    chunks: deque[NDArray[np.float32]] = field(default_factory=deque)
    waiting_samples: int = 0
    is_finished: bool = False
    result: Recognition = field(default_factory=Recognition)
    error: Exception | None = None
    stream: UtteranceStream | None = None

    @property
    def has_work(self) -> bool:
        """Whether the thread has something to do."""
        is_over = self.result.is_final or self.error is not None
        return not is_over and (bool(self.chunks) or self.is_finished)

    def take(self) -> NDArray[np.float32]:
        """Remove the oldest audio and return it: all of it, or 8 s."""
        taken, room = [np.zeros(0, np.float32)], _TAKEN_SAMPLES
        while self.chunks and room:
            chunk = self.chunks.popleft()
            if len(chunk) > room:
                self.chunks.appendleft(chunk[room:])
            taken.append(chunk[:room])
            room -= len(taken[-1])
        self.waiting_samples -= _TAKEN_SAMPLES - room
        return np.concatenate(taken)


class ThreadedRecognizer(Recognizer):
    """Runs the streams of consecutive utterances in a thread, which starts with the first utterance.

    Args:
        new_stream: Returns the stream of an utterance; called in the thread.
        lower_priority: Called in the thread when it starts.
    """

    def __init__(
        self, new_stream: Callable[[], UtteranceStream], lower_priority: Callable[[], None] = lambda: None
    ) -> None:
        self._new_stream, self._lower_priority = new_stream, lower_priority
        self._changed = threading.Condition()
        self._utterance: _Utterance | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None

    @override
    def start_processing(self) -> None:
        with self._changed:
            self._check_open()
            self._cancel()
            self._utterance = _Utterance()
            if self._thread is None:
                # A daemon: a model that hangs must not keep the process from exiting.
                self._thread = threading.Thread(target=self._run, name="sca recognizer", daemon=True)
                self._thread.start()
                _close_at_exit(self, self._thread)
            self._changed.notify_all()

    @override
    def put_audio_chunk(self, samples: NDArray[np.float32]) -> None:
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise InputError(f"audio must be float32 (n,), and is {samples.dtype} {samples.shape}")
        if not np.isfinite(samples).all():
            raise InputError("the audio contains values that are not finite", hint="check the source of the audio")
        with self._changed:
            utterance = self._current()
            if utterance.is_finished:
                raise UsageError("the utterance is finished", hint="call start_processing before new audio")
            if utterance.error is not None:
                raise utterance.error
            if utterance.waiting_samples + len(samples) > _MAX_WAITING_SAMPLES:
                raise ScaError(
                    f"the recognizer is {utterance.waiting_samples / HEARD_HZ:.0f} s behind the audio",
                    hint="use a smaller model or more threads",
                )
            if len(samples):
                utterance.chunks.append(samples.copy())
                utterance.waiting_samples += len(samples)
                self._changed.notify_all()

    @override
    def finish(self) -> None:
        with self._changed:
            self._current().is_finished = True
            self._changed.notify_all()

    @override
    def get_latest_partial(self) -> Recognition:
        with self._changed:
            utterance = self._current()
            if utterance.error is not None:
                raise utterance.error
            return utterance.result

    @override
    def get_final(self, timeout_s: float | None = None) -> Recognition:
        with self._changed:
            utterance = self._current()
            if not utterance.is_finished:
                raise UsageError("finish must be called before get_final")

            def is_over() -> bool:
                return self._is_closed or self._utterance is not utterance or self._is_done(utterance)

            if not self._changed.wait_for(is_over, timeout_s):
                raise TimeoutError(f"the recognizer did not finish within {timeout_s:g} s")
            if utterance.error is not None:
                raise utterance.error
            if not utterance.result.is_final:
                raise UsageError("the recognizer was closed or started again before its result was final")
            return utterance.result

    @override
    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._cancel()
            self._changed.notify_all()

    @staticmethod
    def _is_done(utterance: _Utterance) -> bool:
        return utterance.result.is_final or utterance.error is not None

    def _check_open(self) -> None:
        if self._is_closed:
            raise UsageError("the recognizer is closed")

    def _current(self) -> _Utterance:
        if self._utterance is None:
            self._check_open()
            raise UsageError("no utterance is in progress", hint="call start_processing first")
        if not self._is_done(self._utterance):
            self._check_open()
        return self._utterance

    def _cancel(self) -> None:
        """End the work on the utterance in progress."""
        utterance = self._utterance
        if utterance is not None and utterance.stream is not None and not self._is_done(utterance):
            utterance.stream.cancel()

    # The thread

    def _run(self) -> None:
        self._lower_priority()
        while (found := self._next()) is not None:
            utterance, samples, is_last, every_step = found
            error: Exception | None = None
            try:
                result = self._advance(utterance, samples, is_last=is_last, every_step=every_step)
            except Exception as raised:  # noqa: BLE001 - raised in the thread of the caller
                error = raised
            with self._changed:
                if error is None:
                    utterance.result = result
                else:
                    utterance.error = error
                self._changed.notify_all()

    def _next(self) -> tuple[_Utterance, NDArray[np.float32], bool, bool] | None:
        """Wait for audio or the end of an utterance; None if the recognizer is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or (self._utterance is not None and self._utterance.has_work)
            )
            if self._is_closed or self._utterance is None:
                return None
            utterance = self._utterance
            every_step = len(utterance.chunks) <= 1
            samples = utterance.take()
            return utterance, samples, utterance.is_finished and not utterance.chunks, every_step

    def _advance(
        self, utterance: _Utterance, samples: NDArray[np.float32], *, is_last: bool, every_step: bool
    ) -> Recognition:
        if utterance.stream is None:
            stream = self._new_stream()
            with self._changed:
                utterance.stream = stream
                if self._is_closed or self._utterance is not utterance:
                    stream.cancel()
        else:
            stream = utterance.stream
        stream.push(samples, every_step=every_step and len(samples) < _TAKEN_SAMPLES)
        if is_last:
            stream.finish()
        return stream.result


_started: "weakref.WeakKeyDictionary[threading.Thread, weakref.ref[ThreadedRecognizer]]" = weakref.WeakKeyDictionary()


def _close_at_exit(recognizer: ThreadedRecognizer, thread: threading.Thread) -> None:
    """Wait for a call of the model when the process exits: CTranslate2 aborts the process if it ends during a call."""
    if not _started:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _started[thread] = weakref.ref(recognizer)


def _close_all() -> None:
    for thread, reference in list(_started.items()):
        recognizer = reference()
        if recognizer is not None:
            recognizer.close()
        thread.join(_EXIT_S)

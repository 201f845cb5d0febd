"""Voices in a second process, which receives the content of a `ThoughtPacket` over a bounded queue and returns audio.

The process shares the weights of talker and vocoder (shared memory on a CPU, the same memory on a GPU) and has the
caches of all voices. Its exceptions are raised in this process. If it dies, every voice raises one error. If this
program dies in any way, the process ends too.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import queue
import signal
import threading
import weakref
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.errors import ScaError
from sca.infer.engines.qwen_omni.streaming.voice import Voice, VoiceSettings

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["RemoteVoice", "VoiceProcess"]


_QUEUE_SIZE = 64
"""Maximum number of queued requests (one per chunk of a session); a further request blocks."""

_POLL_S = 0.5
_CLOSE_S = 5.0


class VoiceProcess:
    """A running process. It ends on `close`, when this object is deleted, or when the program ends.

    Attributes:
        process: The process.
        close: Ends the process.
    """

    def __init__(self, model: Module) -> None:
        """Start the process.

        Args:
            model: The model, of which the talker and the vocoder are used.

        Raises:
            ScaError: The process does not start.
        """
        import torch

        context: Any = torch.multiprocessing.get_context("spawn")
        self._requests = context.Queue(_QUEUE_SIZE)
        self._answers, child_end = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_serve,
            args=(model.talker, model.code2wav, self._requests, child_end, torch.get_num_threads()),
            name="sca talker",
            daemon=True,
        )
        self._tickets = itertools.count()
        self._results: dict[int, Any] = {}
        self._cancelled: set[int] = set()
        try:
            with _interrupt_deferred():
                self.process.start()
            child_end.close()  # so that the pipe ends when the process dies
            self.close = weakref.finalize(self, _end, self.process, self._requests, self._answers)
            self.wait(self.request(None, "ready"))
        except BaseException:
            if self.process.pid is not None:  # do not wait until it has started
                self.process.kill()
            raise

    def request(self, voice: int | None, action: str, *arguments: Any) -> int:
        """Queue a request.

        Args:
            voice: The name of the voice, None for the process itself.
            action: The action: `ready`, `begin`, `speak` or `end`.
            *arguments: The arguments of the action.

        Returns:
            A ticket for the result.

        Raises:
            ScaError: The process has died.
        """
        ticket = next(self._tickets)
        while True:
            if not self.process.is_alive():
                raise self._dead()
            try:
                self._requests.put((ticket, voice, action, arguments), timeout=_POLL_S)
            except queue.Full:
                continue
            return ticket

    def wait(self, ticket: int) -> Any:
        """Wait for a result. Raises the exception of the request.

        Args:
            ticket: The ticket of the request.

        Raises:
            ScaError: The process has died.
        """
        while ticket not in self._results:
            try:
                answered, result = self._answers.recv()
            except (EOFError, OSError) as error:
                raise self._dead() from error
            if answered in self._cancelled:
                self._cancelled.remove(answered)
            else:
                self._results[answered] = result
        result = self._results.pop(ticket)
        if isinstance(result, Exception):
            raise result
        return result

    def cancel(self, ticket: int) -> None:
        """Discard the result of a request."""
        if self._results.pop(ticket, None) is None:
            self._cancelled.add(ticket)

    def _dead(self) -> ScaError:
        self.process.join(_CLOSE_S)
        return ScaError(
            f"the talker process died (exit code {self.process.exitcode})",
            hint="start again; qwen.talker_process=false runs the talker in the process of the thinker",
        )


class RemoteVoice:
    """A `Voice` in the process."""

    _names = itertools.count()

    def __init__(self, process: VoiceProcess, marks: Tensor, settings: VoiceSettings) -> None:
        self._process, self._name = process, next(self._names)
        self._waiting: list[int] = []
        self.held_bytes: int = process.wait(process.request(self._name, "begin", _plain(marks), settings))
        # Deleting a session releases its caches too. At the end of the program the process ends anyway.
        self._leave = weakref.finalize(self, _leave, process, self._name)
        self._leave.atexit = False

    def speak(self, tokens: Sequence[int], hidden: Tensor, *, turn_ended: bool = False) -> np.ndarray:
        """Generate one chunk of audio; see `Voice.speak`."""
        self.submit(tokens, hidden, turn_ended=turn_ended)
        return self.result()

    def submit(self, tokens: Sequence[int], hidden: Tensor, *, turn_ended: bool = False) -> None:
        """Request one chunk of audio without waiting for it; see `result`."""
        self._waiting.append(self._process.request(self._name, "speak", list(tokens), _plain(hidden), turn_ended))

    def result(self) -> np.ndarray:
        """Wait for the audio of the oldest pending `submit`, float32 at 24 kHz."""
        wave: np.ndarray
        wave, self.held_bytes = self._process.wait(self._waiting.pop(0))
        return wave

    def close(self) -> None:
        """Release the caches and discard pending results. Can be called repeatedly."""
        for ticket in self._waiting:
            self._process.cancel(ticket)
        self._waiting.clear()
        self._leave()


def _leave(process: VoiceProcess, name: int) -> None:
    with contextlib.suppress(ScaError):  # a dead process has already released it
        process.cancel(process.request(name, "end"))


def _plain(tensor: Tensor) -> np.ndarray:
    """Convert a tensor to an array: float64 stays, every other dtype becomes float32."""
    import torch

    host = tensor.detach().cpu()
    plain: np.ndarray = (host if host.dtype == torch.float64 else host.float()).numpy()
    return plain


def _end(process: Any, requests: Any, answers: Any) -> None:
    """End the process: with a request, and after a timeout with a signal."""
    with contextlib.suppress(Exception):
        requests.put_nowait(None)
    process.join(_CLOSE_S)
    if process.is_alive():
        process.kill()
        process.join(_CLOSE_S)
    requests.cancel_join_thread()
    requests.close()
    answers.close()


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block, and block it in processes started in it: a terminal sends it to all processes."""
    in_main = threading.current_thread() is threading.main_thread()  # signals are only raised in the main thread
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: received.append(number)) if in_main else None
    can_mask = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_mask else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if before is not None:
            signal.signal(signal.SIGINT, before)
        if received:
            signal.raise_signal(signal.SIGINT)


def _exit_with_program() -> None:
    """Exit when the program has ended, which may have been killed and then sends no request."""
    program = multiprocessing.parent_process()
    if program is not None:
        program.join()
        os._exit(1)


def _serve(talker: Module, code2wav: Module, requests: Any, answers: Any, threads: int) -> None:
    """Serve requests until one is None or the pipe is closed."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends it in order
    threading.Thread(target=_exit_with_program, name="sca talker watch", daemon=True).start()
    torch.set_num_threads(threads)
    model = SimpleNamespace(talker=talker, code2wav=code2wav)
    weight = talker.get_input_embeddings().weight
    voices: dict[int, Voice] = {}
    while (request := requests.get()) is not None:
        ticket, name, action, arguments = request
        result: Any = None
        try:
            with torch.inference_mode():
                if action == "begin":
                    marks, settings = arguments
                    voices[name] = Voice(model, torch.from_numpy(marks).to(weight.device, weight.dtype), settings)
                    result = voices[name].held_bytes
                elif action == "speak":
                    tokens, hidden, turn_ended = arguments
                    voice = voices[name]
                    hidden = torch.from_numpy(hidden).to(weight.device, weight.dtype)
                    result = voice.speak(tokens, hidden, turn_ended=turn_ended), voice.held_bytes
                elif action == "end":
                    voices.pop(name, None)
        except Exception as error:  # noqa: BLE001 - raised in the process that sent the request
            result = (
                error
                if isinstance(error, ScaError)
                else ScaError(f"the talker failed: {type(error).__name__}: {error}")
            )
        try:
            answers.send((ticket, result))
        except OSError:
            return  # the program has ended

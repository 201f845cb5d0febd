"""Voices in a second process: it is handed what a `ThoughtPacket` carries, over a bounded queue, and hands back sound.

The process shares the weights of talker and vocoder (shared memory on a CPU, the same memory on a GPU) and keeps the caches of all
voices. What it raises is raised here; when it dies, every voice says so in one line and stays silent. When the program dies,
however that comes about, the process ends too.
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

__all__ = ["RemoteVoice", "VoiceProcess"]


_MOST_WAITING = 64
"""Requests that wait for the process; then whoever asks waits. A chunk of a session is one."""

_POLL_S = 0.5
_CLOSE_S = 5.0


class VoiceProcess:
    """The process, started. Ends when `close` is called, this object is forgotten, or the program ends.

    Raises `ScaError` when it does not start.
    """

    def __init__(self, model: Any) -> None:
        import torch

        context: Any = torch.multiprocessing.get_context("spawn")
        self._requests = context.Queue(_MOST_WAITING)
        self._answers, theirs = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_serve,
            args=(model.talker, model.code2wav, self._requests, theirs, torch.get_num_threads()),
            name="sca talker",
            daemon=True,
        )
        self._tickets = itertools.count()
        self._early: dict[int, Any] = {}
        self._unwanted: set[int] = set()
        try:
            with _undisturbed():
                self.process.start()
            theirs.close()  # so that its death is the end of the pipe
            self.close = weakref.finalize(self, _end, self.process, self._requests, self._answers)
            self.take(self.ask(None, "ready"))
        except BaseException:
            if self.process.pid is not None:  # nobody waits until it has come up
                self.process.kill()
            raise

    def ask(self, voice: int | None, what: str, *arguments: Any) -> int:
        """Put a request in the queue; the ticket for its answer. Raises `ScaError` when the process is dead."""
        ticket = next(self._tickets)
        while True:
            if not self.process.is_alive():
                raise self._dead()
            try:
                self._requests.put((ticket, voice, what, arguments), timeout=_POLL_S)
            except queue.Full:
                continue
            return ticket

    def take(self, ticket: int) -> Any:
        """The answer, waited for. Raises what the request raised, and `ScaError` when the process is dead."""
        while ticket not in self._early:
            try:
                answered, result = self._answers.recv()
            except (EOFError, OSError) as error:
                raise self._dead() from error
            if answered in self._unwanted:
                self._unwanted.remove(answered)
            else:
                self._early[answered] = result
        result = self._early.pop(ticket)
        if isinstance(result, Exception):
            raise result
        return result

    def forget(self, ticket: int) -> None:
        """The answer is not wanted any more."""
        if self._early.pop(ticket, None) is None:
            self._unwanted.add(ticket)

    def _dead(self) -> ScaError:
        self.process.join(_CLOSE_S)
        return ScaError(
            f"the talker's process is gone (exit code {self.process.exitcode})",
            hint="start again; qwen.talker_process=false keeps the talker in one process with the thinker",
        )


class RemoteVoice:
    """A `Voice` of the process. marks: as there."""

    _names = itertools.count()

    def __init__(self, process: VoiceProcess, marks: Tensor, settings: VoiceSettings) -> None:
        self._process, self._name = process, next(self._names)
        self._waiting: list[int] = []
        self.held_bytes: int = process.take(process.ask(self._name, "begin", _plain(marks), settings))
        # A session that is dropped gives its caches back too; at the end of the program the process goes anyway.
        self._leave = weakref.finalize(self, _leave, process, self._name)
        self._leave.atexit = False

    def speak(self, tokens: Sequence[int], told: Tensor) -> np.ndarray:
        """See `Voice`."""
        self.say(tokens, told)
        return self.sound()

    def say(self, tokens: Sequence[int], told: Tensor) -> None:
        """`speak` without waiting; `sound` gives what comes of it."""
        self._waiting.append(self._process.ask(self._name, "speak", list(tokens), _plain(told)))

    def sound(self) -> np.ndarray:
        """The sound of the oldest `say` whose sound was not taken."""
        wave: np.ndarray
        wave, self.held_bytes = self._process.take(self._waiting.pop(0))
        return wave

    def close(self) -> None:
        """Be silent, and give back what it remembers; what is still waited for is dropped. Twice is fine."""
        for ticket in self._waiting:
            self._process.forget(ticket)
        self._waiting.clear()
        self._leave()


def _leave(process: VoiceProcess, name: int) -> None:
    with contextlib.suppress(ScaError):  # a dead process has forgotten it already
        process.forget(process.ask(name, "end"))


def _plain(tensor: Tensor) -> np.ndarray:
    """Without a device. In float32, which holds every shorter format, or as it is when it is longer."""
    import torch

    host = tensor.detach().cpu()
    plain: np.ndarray = (host if host.dtype == torch.float64 else host.float()).numpy()
    return plain


def _end(process: Any, requests: Any, answers: Any) -> None:
    """Ask it to end, then make it."""
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
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits until the end of this, and what is started in it never gets any: a terminal sends it to all processes."""
    here = threading.current_thread() is threading.main_thread()  # nowhere else it is raised
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number)) if here else None
    can_mask = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_mask else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if before is not None:
            signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _end_with_the_program() -> None:
    """It may have been killed, and then it asked nobody to end."""
    program = multiprocessing.parent_process()
    if program is not None:
        program.join()
        os._exit(1)


def _serve(talker: Any, code2wav: Any, requests: Any, answers: Any, threads: int) -> None:
    """The process: one request after the other, until there is a None or nobody listens."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it in order
    threading.Thread(target=_end_with_the_program, name="sca talker watch", daemon=True).start()
    torch.set_num_threads(threads)
    model = SimpleNamespace(talker=talker, code2wav=code2wav)
    weight = talker.get_input_embeddings().weight
    voices: dict[int, Voice] = {}
    while (request := requests.get()) is not None:
        ticket, name, what, arguments = request
        result: Any = None
        try:
            with torch.inference_mode():
                if what == "begin":
                    marks, settings = arguments
                    voices[name] = Voice(model, torch.from_numpy(marks).to(weight.device, weight.dtype), settings)
                    result = voices[name].held_bytes
                elif what == "speak":
                    tokens, told = arguments
                    voice = voices[name]
                    result = (
                        voice.speak(tokens, torch.from_numpy(told).to(weight.device, weight.dtype)),
                        voice.held_bytes,
                    )
                elif what == "end":
                    voices.pop(name, None)
        except Exception as error:  # noqa: BLE001 - raised where it was asked for
            result = (
                error
                if isinstance(error, ScaError)
                else ScaError(f"the talker failed: {type(error).__name__}: {error}")
            )
        try:
            answers.send((ticket, result))
        except OSError:
            return  # nobody is there any more

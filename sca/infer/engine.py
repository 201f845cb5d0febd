"""What an engine is: a thing that opens sessions, each stepped one chunk at a time. Knows no model and no device.

An engine and its sessions are called from one thread at a time (the worker of their device), never from the event loop. A
session is stepped with exactly one chunk, in the order of `chunk_index`; sessions share nothing mutable. The rules are held by
`tests/helpers/engine_contract.py`, which every engine passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from sca.infer.frames import AudioInput, Frame
from sca.units import Grid

__all__ = ["BatchEngine", "Engine", "EngineInfo", "EngineSession", "SessionConfig", "StepGuard"]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine declares about itself.

    summary: one line for people.   uses_features: whether `AudioInput.features` is read; if not, it stays empty and costs
    nothing.   produces_audio: whether it ever returns `AudioOutput`.   device: who shares its worker thread: engines of one device run
    one step at a time.
    benefits_from_batching: of one that steps many sessions in one go, whether that is cheaper than one after the other, so that it pays to wait a
    moment for others.
    """

    name: str
    summary: str
    uses_features: bool = True
    produces_audio: bool = True
    device: str = "cpu"
    benefits_from_batching: bool = True


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session is opened with."""

    session_id: str = "0"
    grid: Grid = field(default_factory=Grid)
    prompt: str = ""


class EngineSession(Protocol):
    """One conversation with an engine."""

    def step(self, heard: AudioInput) -> Sequence[Frame]:
        """Hear one chunk; return what comes of it, in order, at most one chunk of sound.

        A gap in `chunk_index` means that chunks were dropped. Raises ValueError for a chunk of another length or dtype and for an
        index that does not grow, RuntimeError after `close`; other exceptions end the session.
        """
        ...

    def interrupt(self, turn_id: int) -> None:
        """Forget what was still to be said; from now on `AudioOutput.turn_id` is at least `turn_id`. Goes on listening."""
        ...

    def reset(self) -> None:
        """Start anew: as if just opened, and the next chunk may have any index."""
        ...

    def close(self) -> None:
        """Let go of everything. Twice is fine."""
        ...


@runtime_checkable
class Engine(Protocol):
    """A model, loaded; or something that behaves like one."""

    @property
    def info(self) -> EngineInfo:
        """What it is."""
        ...

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Begin a conversation. Raises `ConfigError` when it cannot serve this grid."""
        ...


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """An engine that can step many sessions in one go, with the results of stepping each alone."""

    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """Step session i with input i; the sessions are different ones. Returns one list of frames a session.

        What one session alone would raise stands in its place, and the others are stepped. What this raises ends all of them.
        """
        ...


class StepGuard:
    """The refusals every session owes its caller, in one place: call `check` first in `step`."""

    def __init__(self, chunk_samples: int) -> None:
        self._chunk_samples = chunk_samples
        self._last = -1
        self._closed = False

    def check(self, heard: AudioInput) -> int:
        """Raise ValueError or RuntimeError as `EngineSession.step` promises; return how many chunks were dropped before this one."""
        if self._closed:
            raise RuntimeError("this session is closed")
        samples = heard.samples
        if samples.dtype != "float32" or samples.shape != (self._chunk_samples,):
            raise ValueError(
                f"a step takes float32 ({self._chunk_samples},) at 16 kHz, got {samples.dtype} {samples.shape}"
            )
        if heard.chunk_index <= self._last:
            raise ValueError(f"chunk {heard.chunk_index} comes after chunk {self._last}; chunks are stepped in order")
        dropped = heard.chunk_index - self._last - 1 if self._last >= 0 else 0
        self._last = heard.chunk_index
        return dropped

    def reset(self) -> None:
        """Forget the order of chunks; the next may have any index. Raises RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("this session is closed")
        self._last = -1

    def close(self) -> None:
        """From now on `check` and `reset` raise."""
        self._closed = True

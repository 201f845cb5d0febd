"""The interface of an engine: a model that opens sessions, each of which is stepped one chunk at a time.

An engine and its sessions are called from one thread at a time (the worker of their device), never from the event loop.
A session receives exactly one chunk per step, in the order of `chunk_index`. Sessions share no mutable state. Every
engine must pass the tests in `tests/helpers/engine_contract.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from sca.infer.frames import AudioInput, Frame
from sca.infer.generation import GenerationOptions
from sca.units import Grid

__all__ = ["BatchEngine", "Engine", "EngineInfo", "EngineSession", "HearsPlayback", "SessionConfig", "StepGuard"]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The properties that an engine declares.

    Attributes:
        name: The name of the engine.
        summary: A one-line description for users.
        uses_features: Whether the engine reads `AudioInput.features`. If not, they are not computed.
        produces_audio: Whether the engine ever returns `AudioOutput`.
        device: The device of the engine. Engines with the same device share a worker thread, which runs one step at a
            time.
        benefits_from_batching: For a `BatchEngine`: whether one call for many sessions is cheaper than one call for
            each, so that it is worth waiting briefly for other sessions.
        answers_in_background: Whether answers are made outside of steps, by a server or in threads, so that they take
            time and not steps.
        takes_text: Whether its sessions take text, tools and instructions by `sca.infer.requests`.
        follows_turns: Whether sessions support `SessionConfig.turns` "given".
        parts: What the engine consists of, for users: the kind of each part and its name.
        voices: The voices that a session may choose (`SessionConfig.voice`); empty if it has no choice.
        voice: The voice of a session that chooses none; None if it has no name.
        follows_prompt: Whether the prompt of a session has an effect.
        hears_words: Whether sessions return the words of the user (`UserText`).
        follows_generation: Whether sessions follow `SessionConfig.generation`.
        most_sessions: Most sessions at a time; None without a limit. `sca serve` rejects further callers.
        examples: Sentences to say first.
    """

    name: str
    summary: str
    uses_features: bool = True
    produces_audio: bool = True
    device: str = "cpu"
    benefits_from_batching: bool = True
    answers_in_background: bool = False
    takes_text: bool = False
    follows_turns: bool = False
    parts: tuple[tuple[str, str], ...] = ()
    voices: tuple[str, ...] = ()
    voice: str | None = None
    follows_prompt: bool = True
    hears_words: bool = False
    follows_generation: bool = False
    most_sessions: int | None = None
    examples: tuple[str, ...] = ("Hello, can you hear me?", "What can you do?")

    def voice_problem(self, name: str) -> str | None:
        """Return why a session cannot have a voice, with the voices to choose from; None if it can."""
        if name in self.voices or name == self.voice:
            return None
        if not self.voices:
            return f"the engine {self.name} has no voices to choose from"
        return f"the voice {name[:80]} does not exist; the voices are: {', '.join(self.voices)}"

    def generation_problem(self, options: GenerationOptions) -> str | None:
        """Return which of the chosen options have no effect, because the engine does not follow them; None if all have."""
        if self.follows_generation or not options.chosen:
            return None
        return f"the engine {self.name} does not follow generation options, and these have no effect: {', '.join(options.chosen)}"


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The parameters of a session.

    Attributes:
        session_id: An identifier for logs and recordings.
        grid: The length of a chunk, in samples and in frames.
        prompt: The system prompt.
        voice: One of `EngineInfo.voices`; None is the default of the engine.
        pace: How chunks arrive. "realtime": as they are spoken; a step must not wait for anything outside the device.
            "lockstep": as fast as steps are made, from a file or an array; a step waits for what belongs to its time,
            such as the answer of a server, so that two runs give the same result.
        turns: What decides on the turns of the user. "found": the engine does, from the sound. "given": the transport
            does, by the settings of its client, and the engine follows `AudioInput.signals`: it answers after "answer"
            only, and does not interrupt its answers. Only for engines with `EngineInfo.follows_turns`.
        generation: The options for turn-taking, text and voice, for engines with `EngineInfo.follows_generation`.
    """

    session_id: str = "0"
    grid: Grid = field(default_factory=Grid)
    prompt: str = ""
    voice: str | None = None
    pace: Literal["realtime", "lockstep"] = "realtime"
    turns: Literal["found", "given"] = "found"
    generation: GenerationOptions = field(default_factory=GenerationOptions)


class EngineSession(Protocol):
    """One conversation with an engine."""

    def step(self, audio: AudioInput) -> Sequence[Frame]:
        """Process one chunk of input.

        Args:
            audio: The chunk. A gap in `chunk_index` means that chunks were dropped.

        Returns:
            The resulting frames in order, with at most one chunk of output audio in total.

        Raises:
            ValueError: The chunk has another length or dtype, or its index does not increase.
            RuntimeError: The session is closed.
            Exception: Any other exception ends the session.
        """
        ...

    def interrupt(self, turn_id: int) -> None:
        """Discard the rest of the current answer and continue to listen.

        Args:
            turn_id: The lowest `AudioOutput.turn_id` allowed from now on.
        """
        ...

    def reset(self) -> None:
        """Return to the initial state. The next chunk may have any index."""
        ...

    def close(self) -> None:
        """Release all resources. A second call has no effect."""
        ...


@runtime_checkable
class HearsPlayback(Protocol):
    """A session that receives how much of an interrupted answer was played, and remembers that part only."""

    def set_played(self, turn_id: int, samples: int) -> None:
        """Receive how much of a turn was played. Called before the step after the interruption.

        Args:
            turn_id: The turn.
            samples: Samples at 24 kHz since its start.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """A loaded model, or anything that behaves like one: the interface to implement for a new engine.

    `sca.infer.engines.registry` describes how a package registers its engine. Any object with these members is an
    engine; a subclass is not required.

    Example:
        An engine that answers every chunk with a quarter of a second of silence:

        ```python
        import sca
        from sca.infer.engine import EngineInfo, SessionConfig, StepGuard
        from sca.infer.frames import AudioInput, AudioOutput


        class SilentSession:
            def __init__(self, config: SessionConfig) -> None:
                self.guard = StepGuard(config.grid.heard_samples)
                self.turn_id = 0

            def step(self, audio: AudioInput) -> list[AudioOutput]:
                self.guard.check(audio)
                return [AudioOutput(bytes(2 * 6_000), 24_000, "", audio.chunk_index, self.turn_id)]

            def interrupt(self, turn_id: int) -> None:
                self.turn_id = max(self.turn_id, turn_id)

            def reset(self) -> None:
                self.guard.reset()

            def close(self) -> None:
                self.guard.close()


        class SilentEngine:
            info = EngineInfo("silent", "answers with silence", uses_features=False)

            def open(self, session_config: SessionConfig) -> SilentSession:
                return SilentSession(session_config)


        assert isinstance(SilentEngine(), sca.Engine)
        ```
    """

    @property
    def info(self) -> EngineInfo:
        """The properties of the engine."""
        ...

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Open a session.

        Raises:
            ConfigError: The engine does not support the grid of the session.
        """
        ...


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """An engine that can step many sessions in one call, with the same results as stepping each of them alone."""

    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """Step every session with its input. An exception that this method raises ends all sessions.

        Args:
            sessions: Sessions of this engine, all different.
            inputs: One chunk per session.

        Returns:
            For each session its frames, or the exception that ends this session only.
        """
        ...


class StepGuard:
    """The checks that every session must make: call `check` first in `step`.

    Args:
        chunk_samples: The length of a chunk at 16 kHz.
    """

    def __init__(self, chunk_samples: int) -> None:
        self._chunk_samples = chunk_samples
        self._last = -1
        self._closed = False

    def check(self, audio: AudioInput) -> int:
        """Check a chunk.

        Returns:
            The number of chunks that were dropped before this one.

        Raises:
            ValueError: See `EngineSession.step`.
            RuntimeError: The session is closed.
        """
        if self._closed:
            raise RuntimeError("this session is closed")
        samples = audio.samples
        if samples.dtype != "float32" or samples.shape != (self._chunk_samples,):
            raise ValueError(
                f"a step takes float32 ({self._chunk_samples},) at 16 kHz, got {samples.dtype} {samples.shape}"
            )
        if audio.chunk_index <= self._last:
            raise ValueError(f"chunk {audio.chunk_index} follows chunk {self._last}; chunks must be stepped in order")
        dropped = audio.chunk_index - self._last - 1 if self._last >= 0 else 0
        self._last = audio.chunk_index
        return dropped

    def reset(self) -> None:
        """Accept any index for the next chunk.

        Raises:
            RuntimeError: The session is closed.
        """
        if self._closed:
            raise RuntimeError("this session is closed")
        self._last = -1

    def close(self) -> None:
        """Make every later `check` and `reset` raise."""
        self._closed = True

"""Turn segmentation for engines that answer when a turn of the user ends: chunks in, the audio of whole turns out."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import FRAME_SAMPLES, SileroVad
from sca.config import LiveConfig, Settings
from sca.infer.engine import SessionConfig
from sca.infer.frames import AudioInput, TurnSignal
from sca.units import HEARD_HZ, seconds_to_samples

if TYPE_CHECKING:
    from sca.infer.turn.detector import ModelTurnDetector

__all__ = ["AudioHistory", "SilenceTurnDetector", "TurnSegmenter", "TurnUpdate", "turn_detector_factory"]

_FRAME_MS = FRAME_SAMPLES * 1000 // HEARD_HZ
_PAD_FRAMES = 3  # kept before and after the speech that the VAD detects: it is late at onsets, and word ends fade
_MAX_GIVEN_SLACK_S = 20  # the longest silence and padding that a client may set


def turn_detector_factory(settings: Settings) -> "Callable[..., ModelTurnDetector] | None":
    """Return a function that makes the turn detector of a session, for `live.turn_model`; None if silence ends a turn."""
    live = settings.live
    if live.turn_model is None:
        return None
    # Imported on use: a model needs onnxruntime or an HTTP client, and silence needs neither.
    from sca.infer.turn.detector import detector_factory

    return detector_factory(
        settings.turn,
        live.turn_model,
        onset=live.vad_onset,
        offset=live.vad_offset,
        fallback_ms=live.end_of_turn_ms,
    )


class SilenceTurnDetector:
    """Detects the start and the end of turns from one speech probability per frame of 32 ms.

    Speech starts at `vad_onset` and ends below `vad_offset`. Uninterrupted speech of `min_speech_ms` starts a turn, and
    silence of `end_of_turn_ms` ends it.

    Args:
        live: The thresholds.

    Attributes:
        run: The number of frames of the current piece of speech, 0 in silence.
    """

    def __init__(self, live: LiveConfig) -> None:
        self._onset, self._offset = live.vad_onset, live.vad_offset
        self._least_speech = _frames(live.min_speech_ms)
        self._most_silence = _frames(live.end_of_turn_ms)
        self.reset()

    def reset(self) -> None:
        """Return to the initial state."""
        self.run = self._frames_seen = self._silent = 0
        self._start: int | None = None

    @property
    def in_turn(self) -> bool:
        """Whether a turn is in progress, or speech that may become one."""
        return self._start is not None or self.run > 0

    def push(self, probability: float) -> tuple[int, int] | None:
        """Add one frame.

        Returns:
            The turn that ends with this frame, as (first frame, last frame + 1) since the start; None if no turn ends.
        """
        self._frames_seen += 1
        if probability >= (self._offset if self.run else self._onset):
            self.run += 1
            self._silent = 0
            if self._start is None and self.run >= self._least_speech:
                self._start = self._frames_seen - self.run
            return None
        self.run = 0
        self._silent += 1
        if self._start is None or self._silent < self._most_silence:
            return None
        turn = self._start, self._frames_seen - self._silent
        self._start = None
        return turn


def _frames(ms: int) -> int:
    return max(1, -(-ms // _FRAME_MS))


class AudioHistory:
    """The latest samples, addressed by their position since the start."""

    def __init__(self, keep_samples: int) -> None:
        self._keep = keep_samples
        self._pieces: deque[NDArray[np.float32]] = deque()
        self._start = self._end = 0

    @property
    def end(self) -> int:
        """The position after the latest sample."""
        return self._end

    def add(self, samples: NDArray[np.float32]) -> None:
        """Add float32 `(n,)`."""
        self._pieces.append(samples)
        self._end += len(samples)
        while self._end - self._start - len(self._pieces[0]) >= self._keep:
            self._start += len(self._pieces.popleft())

    def slice(self, start: int, end: int) -> NDArray[np.float32]:
        """Return the available part of [start, end)."""
        whole = np.concatenate([*self._pieces, np.zeros(0, np.float32)])
        return whole[max(0, start - self._start) : max(0, end - self._start)]


@dataclass(frozen=True, slots=True)
class TurnUpdate:
    """The result of one chunk.

    Attributes:
        turn: The audio to answer, float32 `(n,)`: the turn that the chunk ends; if turns are given, all turns since the
            last answer. None if there is nothing to answer.
        barge_in: Whether the user's speech interrupts an answer.
        in_turn: Whether a turn of the user is in progress after the chunk; it may turn out to be too short for one.
        silence_samples: The audio since the end of the turn that ends, up to the end of the chunk.
        is_over: Whether a turn of the user ends with the chunk. If turns are given, its answer may be requested later.
    """

    turn: NDArray[np.float32] | None
    barge_in: bool
    in_turn: bool = False
    silence_samples: int = 0
    is_over: bool = False


class TurnSegmenter:
    """Cuts the input of a session into turns, and detects speech that interrupts an answer.

    If the turns are given (`SessionConfig.turns`), it follows them, and detects nothing.

    Args:
        vad: Detects speech.
        config: The session.
        live: The thresholds.
        detector: Decides when a turn ends; None uses silence.
    """

    def __init__(
        self, vad: SileroVad, config: SessionConfig, live: LiveConfig, detector: "ModelTurnDetector | None" = None
    ) -> None:
        self._vad = vad.stream()
        self._follows = config.turns == "given"
        if detector is not None and config.pace == "realtime":
            detector.run_in_background()
        self._model_detector = detector
        self._detector: SilenceTurnDetector | ModelTurnDetector
        self._detector = SilenceTurnDetector(live) if detector is None else detector
        self._barge_in_frames = _frames(live.barge_in_ms)
        # A turn is cut out some time after its end, so its first frames and that silence are kept as well.
        self._most_samples = seconds_to_samples(live.max_turn_s, HEARD_HZ)
        silence = _frames(live.end_of_turn_ms) * FRAME_SAMPLES if detector is None else detector.max_silence
        self._slack = silence + _PAD_FRAMES * FRAME_SAMPLES + config.grid.heard_samples
        if self._follows:
            self._slack += _MAX_GIVEN_SLACK_S * HEARD_HZ
        self._start()

    def _start(self) -> None:
        self._history = AudioHistory(self._most_samples + self._slack)
        self._frames_seen = 0
        self._in_given_turn = False
        self._unanswered: list[NDArray[np.float32]] = []

    def push(self, audio: AudioInput) -> TurnUpdate:
        """Add a chunk."""
        return self._follow(audio) if self._follows else self._find(audio.samples)

    def _follow(self, audio: AudioInput) -> TurnUpdate:
        if audio.sound_start > self._history.end:  # chunks were dropped
            self._history.add(np.zeros(audio.sound_start - self._history.end, np.float32))
        self._history.add(audio.sound)
        turn, is_over, silence = None, False, 0
        for signal in audio.signals:
            if signal.kind == "answer":
                turn = np.concatenate(self._unanswered) if self._unanswered else None
                self._unanswered.clear()
            elif isinstance(signal, TurnSignal):
                self._in_given_turn = signal.kind == "speech"
                if signal.kind == "turn":
                    start = max(signal.start, signal.end - self._most_samples)
                    self._unanswered.append(self._history.slice(start, signal.end))
                    is_over, silence = True, max(0, self._history.end - signal.end)
        return TurnUpdate(turn, False, self._in_given_turn, silence, is_over)

    def _find(self, samples: NDArray[np.float32]) -> TurnUpdate:
        self._history.add(samples)
        if self._model_detector is not None:
            self._model_detector.add_audio(samples)
        ended: tuple[int, int] | None = None
        longest_run = 0
        for probability in self._vad.push(samples).tolist():
            self._frames_seen += 1
            over = self._detector.push(probability)
            if over is not None:
                ended = over
            longest_run = max(longest_run, self._detector.run)
        turn = None if ended is None else self._turn_audio(*ended)
        silence = 0 if ended is None else (self._frames_seen - ended[1]) * FRAME_SAMPLES
        barge_in = longest_run >= self._barge_in_frames or ended is not None
        return TurnUpdate(turn, barge_in, self._detector.in_turn, silence, turn is not None)

    def _turn_audio(self, first_frame: int, end_frame: int) -> NDArray[np.float32]:
        end = (end_frame + _PAD_FRAMES) * FRAME_SAMPLES
        start = max(0, first_frame - _PAD_FRAMES) * FRAME_SAMPLES
        return self._history.slice(max(start, end - self._most_samples), end)

    def reset(self) -> None:
        """Discard all audio and return to the initial state."""
        self._vad.reset()
        self._detector.reset()
        self._start()

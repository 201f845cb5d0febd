"""Separate overlapping speech with a model that is given, and write a recording for each speaker.

The model is an ONNX file with one input, float32 `(1, n)`, mono at 16 kHz, and one output, float32 `(1, 2, n)`: two
voices whose sum is about the input, in any order. ConvTasNet and SepFormer for two speakers have that form. It is run on
each overlap with 2 s of the recording before and after it. There one of the two speakers talks alone, which assigns
the voices: the one with more energy while a speaker talks alone is that speaker's. Without such speech around an overlap,
or if the difference is below 3 dB, the overlap is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.decode import BlockReader
from sca.audio.resample import resample
from sca.audio.samples import SampleFile, Samples, read_samples
from sca.config.sections.paths import PathsConfig
from sca.data.corpora.diarized.spans import Spans, Speaking
from sca.data.runs.files import atomic_write, sha256_of
from sca.data.runs.model_identity import model_identity
from sca.errors import InputError, MissingToolError, writing
from sca.onnx_session import open_session
from sca.textutil import first_line
from sca.timeline import Show
from sca.units import HEARD_HZ, samples_to_seconds, seconds_to_samples

__all__ = ["Separated", "Separation"]

_CONTEXT_S = 2.0
_CLEAR_RATIO = 2.0  # 3 dB
_FADE_S = 0.01
_HINT = "give an .onnx file with an input (1, n) and an output (1, 2, n) at 16 kHz"

Patch = tuple[int, NDArray[np.float32]]
"""Samples that are added to a track, and where they start, at 16 kHz."""


@dataclass(frozen=True, slots=True)
class Separated:
    """What was separated of a recording.

    Attributes:
        spans: The overlaps that were separated, in seconds.
        files: A recording for each speaker; empty if nothing was separated.
    """

    spans: Spans
    files: Mapping[str, Path]

    @staticmethod
    def nothing() -> "Separated":
        """Return the result without a separation."""
        return Separated((), {})


class Separation:
    """A separation model and the cache of its results.

    Args:
        model: The ONNX file, or a folder with one.
        cache_dir: Where recordings of speakers are written; by default the cache of the user.

    Raises:
        MissingToolError: The file does not exist.
        InputError: It is not a separation model.
    """

    def __init__(self, model: Path, cache_dir: Path | None = None) -> None:
        path = next(iter(sorted(model.glob("*.onnx"))), model) if model.is_dir() else model
        if not path.is_file():
            raise MissingToolError(f"the separation model {path} does not exist", hint=_HINT)
        try:
            self._session = open_session(path)
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(f"{path} cannot be loaded as an ONNX model", hint=_HINT) from error
        self._path, self._identity = path, model_identity(str(path))
        cache = cache_dir if cache_dir is not None else PathsConfig().resolved_cache_dir
        self._folder = cache / "recordings" / "separated"
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 2:
            raise InputError(
                f"{path} is not a separation model: it takes {[node.shape for node in inputs]}", hint=_HINT
            )
        self._input = str(inputs[0].name)
        self._voices(np.zeros(HEARD_HZ, np.float32))

    def _voices(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the two voices of a mixture, float32 `(2, n)`."""
        try:
            output = np.asarray(self._session.run(None, {self._input: samples[None]})[0], np.float32)
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(f"{self._path} failed on {len(samples)} samples: {first_line(error)}") from error
        if output.shape != (1, 2, len(samples)):
            raise InputError(
                f"{self._path} returns {output.shape} for {len(samples)} samples, not (1, 2, {len(samples)})",
                hint=_HINT,
            )
        voices: NDArray[np.float32] = output[0]
        return voices

    def separate(self, audio: Path, show: Show, stretches: Sequence[Speaking], spans: Mapping[str, Spans]) -> Separated:
        """Separate the overlaps of two speakers in a recording.

        Args:
            audio: The recording.
            show: Its line.
            stretches: The speakers of each stretch.
            spans: Where each speaker talks alone.

        Raises:
            InputError: The recording cannot be read, or the model failed.
            OutputError: A file cannot be written.
        """
        both = [stretch for stretch in stretches if len(stretch.speakers) == 2]
        if not both:
            return Separated.nothing()
        patches: dict[str, list[Patch]] = {speaker: [] for speaker in spans}
        done: list[tuple[float, float]] = []
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        with SampleFile(self._folder) as samples:
            read_samples(audio, HEARD_HZ, samples)
            for stretch in both:
                voices = self._of_speakers(samples, stretch, stretches)
                if voices is not None:
                    done.append((stretch.start_s, stretch.end_s))
                    for speaker, voice in voices.items():
                        patches[speaker].append((seconds_to_samples(stretch.start_s, HEARD_HZ), voice))
        if not done:
            return Separated.nothing()
        key = blake2b(
            repr((sha256_of(audio), self._identity, [tuple(turn) for turn in show.turns or ()])).encode(),
            digest_size=12,
        ).hexdigest()
        files = {}
        for speaker in spans:
            files[speaker] = self._folder / key / f"{speaker}.wav"
            if not files[speaker].is_file():
                _write(files[speaker], audio, spans[speaker], patches[speaker])
        return Separated(tuple(done), files)

    def _of_speakers(
        self, samples: Samples, overlap: Speaking, stretches: Sequence[Speaking]
    ) -> dict[str, NDArray[np.float32]] | None:
        """Return the voice of each speaker in an overlap; None if they cannot be assigned."""
        first = max(0, seconds_to_samples(overlap.start_s - _CONTEXT_S, HEARD_HZ))
        last = min(len(samples), seconds_to_samples(overlap.end_s + _CONTEXT_S, HEARD_HZ))
        voices = self._voices(samples[first:last])
        one, other = sorted(overlap.speakers)
        score, heard = 0.0, 0
        for stretch in stretches:
            if len(stretch.speakers) != 1 or not stretch.speakers & overlap.speakers:
                continue
            start = max(0, seconds_to_samples(stretch.start_s, HEARD_HZ) - first)
            end = min(last - first, max(0, seconds_to_samples(stretch.end_s, HEARD_HZ) - first))
            if end > start:
                levels = np.square(voices[:, start:end]).mean(axis=1) + 1e-12
                direction = 1.0 if one in stretch.speakers else -1.0
                score += direction * (end - start) * float(np.log(levels[0] / levels[1]))
                heard += end - start
        if not heard or abs(score) < np.log(_CLEAR_RATIO) * heard:
            return None
        start = seconds_to_samples(overlap.start_s, HEARD_HZ) - first
        end = seconds_to_samples(overlap.end_s, HEARD_HZ) - first
        mine, theirs = (0, 1) if score > 0 else (1, 0)
        return {one: voices[mine, start:end].copy(), other: voices[theirs, start:end].copy()}


def _write(path: Path, audio: Path, spans: Spans, patches: Sequence[Patch]) -> None:
    """Write the recording of a speaker: its own stretches of a recording, and separated voices."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with BlockReader(audio) as reader, atomic_write(path) as temporary:
        rate = reader.info.rate_hz
        added = [
            (seconds_to_samples(samples_to_seconds(start, HEARD_HZ), rate), resample(voice, HEARD_HZ, rate))
            for start, voice in patches
        ]
        with soundfile.SoundFile(temporary, "w", rate, 1, "FLOAT", format="WAV") as file:
            for block in _track(reader, spans, added, rate):
                file.write(block)


def _track(blocks: BlockReader, spans: Spans, added: Sequence[Patch], rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield a speaker's track in blocks."""
    at = 0
    fade = max(1, seconds_to_samples(_FADE_S, rate))
    for block in blocks:
        track = np.zeros(len(block), np.float32)
        end = at + len(block)
        for start_s, end_s in spans:
            low, high = seconds_to_samples(start_s, rate), seconds_to_samples(end_s, rate)
            if low < end and high > at:
                places = np.arange(max(low, at), min(high, end))
                gain = np.minimum(np.minimum(places - low + 1, high - places) / fade, 1).astype(np.float32)
                track[places - at] = block[places - at] * gain
        for start, voice in added:
            low, high = max(start, at), min(start + len(voice), end)
            if low < high:
                track[low - at : high - at] = voice[low - start : high - start]
        at = end
        yield track

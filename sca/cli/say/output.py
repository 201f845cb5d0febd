"""The outputs of `sca say`: the chunks of speech go to a file, to standard output and to a loudspeaker as they come."""

import codecs
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import StreamResampler
from sca.cli.say.target import Target
from sca.data.runs.files import atomic_write, write_json
from sca.errors import check_target, writing
from sca.infer.speech.base import SpeechVoice, WordTime

__all__ = ["Spoken", "speak", "text_pieces"]

_READ_BYTES = 1 << 16


@dataclass(slots=True)
class Spoken:
    """What was spoken.

    Attributes:
        rate_hz: The rate of the audio that was written.
        voice_hz: The rate of the voice, in which the words count.
        samples: The length of the audio.
        words: The words with their times.
        skipped: Words that the voice cannot speak.
    """

    rate_hz: int
    voice_hz: int
    samples: int = 0
    words: list[WordTime] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return the JSON document: times in seconds, positions in characters of the text."""
        words = [self._word(word) for word in self.words]
        seconds = round(self.samples / self.rate_hz, 5)
        return {"sample_rate": self.rate_hz, "seconds": seconds, "words": words, "skipped": self.skipped}

    def _word(self, word: WordTime) -> dict[str, object]:
        entry: dict[str, object] = {
            "word": word.text,
            "start": round(word.start_sample / self.voice_hz, 5),
            "end": round(word.end_sample / self.voice_hz, 5),
            "start_char": word.start_char,
            "end_char": word.end_char,
        }
        return entry | {"estimated": True} if word.is_estimated else entry


def text_pieces(text: str) -> Iterator[str]:
    """Yield a text, or, if it is `-`, standard input as it arrives. Bytes that are not UTF-8 are replaced."""
    if text != "-":
        yield text
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    stream = sys.stdin.buffer
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    while data := read(_READ_BYTES):
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)


def speak(
    voice: SpeechVoice,
    pieces: Iterator[str],
    target: Target,
    rate_hz: int | None,
    *,
    backend: str,
    device: str | None,
) -> Spoken:
    """Speak a text to all outputs.

    Args:
        voice: The voice.
        pieces: The text.
        target: The outputs. A file appears when it is complete, and only if something was spoken.
        rate_hz: The rate of the audio; None is that of the voice.
        backend: The audio backend of the loudspeaker.
        device: The loudspeaker.
    """
    spoken = Spoken(rate_hz or voice.sample_rate, voice.sample_rate)
    for path in filter(None, (target.file, target.words)):
        check_target(path)
    with ExitStack() as stack:
        outputs: list[Callable[[NDArray[np.float32]], None]] = [_write_stdout] if target.stream else []
        if target.file is not None:
            outputs.append(stack.enter_context(_AudioFile(target.file, spoken)).write)
        blocks = _blocks(voice, pieces, spoken, outputs)
        if target.play:
            from sca.infer.audio_io.playback import play

            play(blocks, spoken.rate_hz, backend=backend, device=device)
        else:
            for _ in blocks:
                pass
    if target.words is not None and spoken.words:
        write_json(target.words, spoken.document())
    return spoken


def _blocks(
    voice: SpeechVoice,
    pieces: Iterator[str],
    spoken: Spoken,
    outputs: list[Callable[[NDArray[np.float32]], None]],
) -> Iterator[NDArray[np.float32]]:
    """Yield the audio at the rate of the output, after it was written."""
    resampler = StreamResampler(voice.sample_rate, spoken.rate_hz)

    def written(block: NDArray[np.float32]) -> NDArray[np.float32]:
        block = np.clip(block, -1, 1)
        spoken.samples += len(block)
        for output in outputs:
            output(block)
        return block

    for chunk in voice.speak(pieces):
        spoken.words += chunk.words
        spoken.skipped += chunk.skipped
        yield written(resampler.push(chunk.samples))
    yield written(resampler.flush())


def _write_stdout(block: NDArray[np.float32]) -> None:
    sys.stdout.buffer.write(pcm16_bytes(block, INT16_MAX))
    sys.stdout.buffer.flush()


class _AudioFile:
    """A 16-bit WAV or FLAC file that appears when the block ends without an error and something was spoken."""

    def __init__(self, path: Path, spoken: Spoken) -> None:
        self._path = path
        self._spoken = spoken
        self._stack = ExitStack()

    def __enter__(self) -> "_AudioFile":
        import soundfile

        temporary = self._stack.enter_context(atomic_write(self._path))
        kind = self._path.suffix[1:].upper()
        self._file = self._stack.enter_context(
            soundfile.SoundFile(temporary, "w", self._spoken.rate_hz, 1, "PCM_16", format=kind)
        )
        return self

    def write(self, block: NDArray[np.float32]) -> None:
        with writing(self._path):
            self._file.write(block)

    def __exit__(self, *raised: object) -> None:
        error = raised[1] if isinstance(raised[1], BaseException) else None
        if error is None and not self._spoken.words:
            error = _NothingSpokenError()
        self._stack.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


class _NothingSpokenError(Exception):
    """Ends the writing of a file without a result."""

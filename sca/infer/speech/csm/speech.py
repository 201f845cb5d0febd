"""Speech from CSM while it is generated: `CsmSpeech.generate_streaming`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sca.errors import InputError, UsageError
from sca.infer.speech.csm.frames import FrameLoop
from sca.infer.speech.csm.mimi_stream import MimiDecodeStream
from sca.infer.speech.csm.prompt import Segment, embed_prompt
from sca.infer.speech.csm.sampling import Sampling
from sca.infer.speech.read_ahead import read_ahead
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["FRAME_MS", "CsmSpeech"]

log = logging.getLogger(__name__)

FRAME_MS = 80
_AHEAD_MS = 2400


@dataclass(frozen=True, slots=True)
class _Plan:
    """The limits of one speech: its prompt, most frames, and frames per chunk, first and later."""

    prompt: Tensor
    most: int
    first: int
    later: int


class CsmSpeech:
    """A loaded model that speaks one text at a time; other threads wait for their turn.

    Args:
        model: A `CsmForConditionalGeneration` in evaluation mode. Its codec should be float32.
        tokenizer: Its tokenizer.
        cuda_graphs: Whether to run frames as CUDA graphs on an NVIDIA GPU.

    Attributes:
        sample_rate: The rate of the audio, in Hz.
    """

    sample_rate = SPOKEN_HZ

    def __init__(self, model: Module, tokenizer: Any, *, cuda_graphs: bool = True) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._loop = FrameLoop(model, graphs=cuda_graphs)
        self._turn = threading.Lock()

    def generate_streaming(
        self,
        text: str,
        speaker: int = 0,
        context: Sequence[Segment] = (),
        max_audio_length_ms: int = 8000,
        temperature: float = 0.9,
        topk: int = 50,
        chunk_frames: int = 6,
        first_chunk_frames: int | None = None,
        seed: int = 0,
    ) -> Generator[Tensor, None, None]:
        """Yield the speech of a text while it is generated. Joined, the chunks are the speech that is decoded at once.

        A thread generates up to 2.4 s ahead of the reader. Closing the generator ends it within one frame.

        Args:
            text: The text.
            speaker: The number of the speaker, 0 to 99.
            context: Earlier speech, in order, of this and other speakers. The model continues these voices.
            max_audio_length_ms: The speech ends after so many ms, whatever the model does.
            temperature: The sampling temperature; 0 always takes the likeliest code.
            topk: Number of likeliest codes to sample from.
            chunk_frames: Frames per chunk. A frame has 80 ms, so 6 are 480 ms.
            first_chunk_frames: Frames of the first chunk; None is `chunk_frames`. Fewer are heard sooner.
            seed: The random seed. Equal seeds give equal speech.

        Yields:
            Float32 `(n,)` on the CPU at 24000 Hz, 1920 samples per frame.

        Raises:
            InputError: The text or the context cannot be used, or does not fit into the model.
            UsageError: A number is out of range.
        """
        first = chunk_frames if first_chunk_frames is None else first_chunk_frames
        if min(chunk_frames, first) < 1 or topk < 1 or temperature < 0 or max_audio_length_ms < FRAME_MS:
            raise UsageError(
                "frames per chunk and topk should be at least 1, temperature at least 0 and max_audio_length_ms at least 80"
            )
        prompt = embed_prompt(self._model, self._tokenizer, context, text, speaker)
        most = self._fitting(prompt.shape[1], max_audio_length_ms // FRAME_MS, bool(context))
        sampling = Sampling(temperature, topk, int(self._model.config.codec_config.codebook_size))
        plan = _Plan(prompt, most, first, chunk_frames)
        ahead = max(_AHEAD_MS // (FRAME_MS * chunk_frames), 1)
        return read_ahead(lambda closed: self._chunks(plan, sampling, seed, closed), ahead)

    def _fitting(self, prompt: int, most: int, has_context: bool) -> int:
        room = self._loop.positions - prompt
        if room < 1:
            raise InputError(
                f"the text{' and its context have' if has_context else ' has'} {prompt} tokens and frames, and the model "
                f"has {self._loop.positions} positions",
                hint="give fewer or shorter context segments, or divide the text",
            )
        return min(most, room)

    def _chunks(self, plan: _Plan, sampling: Sampling, seed: int, closed: threading.Event) -> Iterator[Tensor]:
        stream = MimiDecodeStream(self._model.codec_model)
        frames: list[Tensor] = []
        count, size = 0, plan.first
        with self._turn:
            for frame in self._loop.run(plan.prompt, plan.most, sampling, seed):
                frames.append(frame)
                count += 1
                if closed.is_set():
                    return
                if len(frames) == size:
                    yield self._decoded(stream, frames)
                    frames, size = [], plan.later
            if frames:
                yield self._decoded(stream, frames)
        if count == plan.most:
            log.warning("the speech was cut after %.1f s, the limit of its length", count * FRAME_MS / 1000)

    def _decoded(self, stream: MimiDecodeStream, frames: Sequence[Tensor]) -> Tensor:
        import torch

        with torch.inference_mode():
            return stream.push(torch.stack(list(frames), -1)[None]).float().cpu().clone()

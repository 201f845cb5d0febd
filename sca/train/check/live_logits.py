"""Logits of the live loop for a row: the same steps as a session, with the row's own tokens in place of generated ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sca.audio.mel import log_mel
from sca.data.duplex.load.dataset import DuplexRow
from sca.infer.engines.qwen_omni.streaming.thinker import ThinkerStream
from sca.train.evaluation.runs import answers_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["answer_places", "live_logits"]


def live_logits(thinker: Module, row: DuplexRow) -> Tensor:
    """Return the logits of each token of the row's answers, float32 `(n, vocabulary)` on the CPU.

    Args:
        thinker: The thinker.
        row: The row.
    """
    import torch

    prompt = row.input_ids[: int(np.flatnonzero(row.input_ids == row.placeholder)[0])]
    found = []
    with torch.no_grad():
        stream = ThinkerStream(thinker, tuple(map(int, prompt)))
        for samples, answer in zip(row.heard, answers_of(row), strict=True):
            heard = stream.listen(torch.from_numpy(log_mel(samples))[None])
            stream.open_chunk(heard.shape[1] + len(answer))
            logits, _ = stream.push(heard)
            for token in answer:
                found.append(logits[0, -1].float().cpu())
                logits, _ = stream.push(stream.embed([token]))
    return torch.stack(found)


def answer_places(row: DuplexRow) -> list[tuple[int, int, int]]:
    """Return for each token of the answers the place whose logits predict it, its chunk, and its place in the answer."""
    audio = row.input_ids == row.placeholder
    heard = np.cumsum(audio)
    frames = max(1, int(audio.sum()) // len(row.heard))
    tokens = np.flatnonzero(~audio & (heard > 0))
    chunks = (heard[tokens] - 1) // frames
    firsts = np.searchsorted(chunks, chunks)
    places = np.arange(len(tokens)) - firsts
    return [(int(at) - 1, int(chunk), int(k)) for at, chunk, k in zip(tokens, chunks, places, strict=True)]

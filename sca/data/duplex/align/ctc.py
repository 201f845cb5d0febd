"""Word times from a CTC model (wav2vec 2.0 and its kin): the best path of the known text through its emissions.

`best_path` is pure numpy. The model comes from transformers and torch (extra `live`) and runs on the CPU.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.spans import Span
from sca.data.duplex.rows.text import split_words
from sca.errors import InputError, MissingToolError, UpstreamError
from sca.textutil import first_line

__all__ = ["CtcWords", "best_path"]


def best_path(log_probs: NDArray[np.float32], labels: Sequence[int], blank: int) -> list[tuple[int, int]] | None:
    """The frames `[first, last)` of every label on the most probable CTC path, or None where the frames are too few.

    log_probs: `(frames, vocabulary)`.   labels: what is said, without blanks. Between labels, and around them, blanks may
    stand, and must stand between equal ones. One step a frame for all states at once; memory is frames × labels × 2 bytes.
    """
    frames, count = len(log_probs), len(labels)
    repeats = sum(a == b for a, b in pairwise(labels))
    if not count or frames < count + repeats:
        return None
    states = np.full(2 * count + 1, blank, np.int64)
    states[1::2] = labels
    may_skip = np.zeros(len(states), bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf, np.float64)
    score[:2] = log_probs[0, states[:2]]
    came = np.zeros((frames, len(states)), np.int8)  # how many states back the step to here began
    options = np.empty((3, len(states)))
    for frame in range(1, frames):
        options[0] = score
        options[1, 0] = options[2, :2] = -np.inf
        options[1, 1:] = score[:-1]
        options[2, 2:] = np.where(may_skip[2:], score[:-2], -np.inf)
        came[frame] = options.argmax(axis=0)
        score = options.max(axis=0) + log_probs[frame, states]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    if not np.isfinite(score[state]):
        return None
    first, last = [0] * count, [0] * count
    for frame in range(frames - 1, -1, -1):
        if state % 2:
            first[state // 2] = frame
            last[state // 2] = max(last[state // 2], frame + 1)
        state -= int(came[frame, state])
    return list(zip(first, last, strict=True))


class CtcWords:
    """A model and its vocabulary; `spans` finds the words of a text in a piece of audio.

    Raises `MissingToolError` without torch, `InputError` or `UpstreamError` where the model cannot be loaded or is no CTC model.
    """

    def __init__(self, model: str, cache_dir: str | None = None) -> None:
        try:
            import torch
            from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer
        except ImportError as error:
            raise MissingToolError(
                f"--align ctc needs torch and transformers ({error.name} is not installed)", hint="install sca[live]"
            ) from error
        self._torch = torch
        try:
            self._model: Any = AutoModelForCTC.from_pretrained(model, cache_dir=cache_dir).eval()
            self._features: Any = AutoFeatureExtractor.from_pretrained(model, cache_dir=cache_dir)
            tokenizer = AutoTokenizer.from_pretrained(model, cache_dir=cache_dir)
        except OSError as error:
            raise UpstreamError(
                f"the CTC model {model} cannot be loaded: {first_line(error)}",
                hint="give a hub id or a folder with --align-model",
            ) from error
        except ValueError as error:
            raise InputError(
                f"{model} is no CTC model: {first_line(error)}", hint="give another with --align-model"
            ) from error
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._ids = {text: i for text, i in vocabulary.items() if len(text) == 1}
        self._blank = int(self._model.config.pad_token_id)
        self._delimiter = self._ids.get(getattr(tokenizer, "word_delimiter_token", None) or "|")
        self._hop = int(self._model.config.inputs_to_logits_ratio)

    def spans(self, text: str, heard: NDArray[np.float32]) -> list[Span | None] | None:
        """For each word of `text` its samples in `heard` (16 kHz), None for words the vocabulary cannot write.

        None in place of the list when no word can be written, or the audio is too short for the text.
        """
        labels, owners = self._labels(text)
        if not labels:
            return None
        with self._torch.inference_mode():
            inputs = self._features(heard, sampling_rate=16_000, return_tensors="pt")
            logits = self._model(inputs.input_values).logits[0]
            log_probs = self._torch.log_softmax(logits.float(), dim=-1).numpy()
        path = best_path(log_probs, labels, self._blank)
        if path is None:
            return None
        found: list[Span | None] = [None] * len(split_words(text))
        for (first, last), owner in zip(path, owners, strict=True):
            if owner is not None:
                before = found[owner]
                found[owner] = (first * self._hop if before is None else before[0], min(last * self._hop, len(heard)))
        return found

    def _labels(self, text: str) -> tuple[list[int], list[int | None]]:
        """The labels of a text, and the word each belongs to (None: a word delimiter)."""
        labels: list[int] = []
        owners: list[int | None] = []
        for n, (a, b) in enumerate(split_words(text)):
            ids = [i for letter in text[a:b] if (i := self._id(letter)) is not None]
            if ids and labels and self._delimiter is not None:
                labels.append(self._delimiter)
                owners.append(None)
            labels += ids
            owners += [n] * len(ids)
        return labels, owners

    def _id(self, letter: str) -> int | None:
        """A letter in whichever case the vocabulary has it."""
        for form in (letter, letter.upper(), letter.lower()):
            if form in self._ids and self._ids[form] not in (self._blank, self._delimiter):
                return self._ids[form]
        return None

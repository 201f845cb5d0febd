"""The Audio Spectrogram Transformer as a tagger, through transformers' own classes; needs torch (extra `live`).

Its position embeddings want about 10 s whatever the window, and the feature extractor fills up what is missing; so it costs many
times what CED does. It runs on a GPU where there is one.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.reactions.labels import labels_of_config
from sca.data.reactions.tagger import WINDOW_SAMPLES
from sca.errors import InputError, MissingToolError
from sca.textutil import counted, first_line
from sca.units import HEARD_HZ

__all__ = ["AST_FILES", "AstTagger"]

AST_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
"""What a folder of the model holds."""

_WINDOWS_AT_ONCE = 8
_WHOLE = "copy the model there whole"


class AstTagger:
    """The model in a folder; see `sca.data.reactions.tagger.Tagger`.

    Raises `MissingToolError` without torch or one of the files, `InputError` for files that are no such model.
    """

    window_samples = WINDOW_SAMPLES

    def __init__(self, folder: Path) -> None:
        missing = [name for name in AST_FILES if not (folder / name).is_file()]
        if missing:
            raise MissingToolError(f"{folder} holds no whole model: {', '.join(missing)} is missing", hint=_WHOLE)
        try:
            import torch
            from transformers import ASTFeatureExtractor, ASTForAudioClassification
        except ImportError as error:
            raise MissingToolError("an AST tagger needs torch", hint="pip install 'sca[live]'") from error
        try:
            with warnings.catch_warnings():
                # 128 bands over 257 bins leave the lowest ones empty; that is how AST was trained.
                warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
                self._extractor: Any = ASTFeatureExtractor.from_pretrained(folder, local_files_only=True)
            network, report = ASTForAudioClassification.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
            self.labels: Sequence[str] = labels_of_config(network.config.to_dict())
        except Exception as error:  # safetensors, JSON and torch each raise their own
            why = first_line(error)
            raise InputError(f"{folder} cannot be loaded as an AST tagger: {why}", hint=_WHOLE) from error
        absent = sorted(report["missing_keys"])
        if absent:  # transformers would fill them at random and go on
            raise InputError(
                f"{folder} is no AST tagger: it lacks {counted(len(absent), 'weight')}, such as {absent[0]}",
                hint=_WHOLE,
            )
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network: Any = network.to(self._device).eval()

    def scores(self, samples: NDArray[np.float32], starts: Sequence[int]) -> NDArray[np.float32]:
        """See `Tagger.scores`."""
        import torch

        found = []
        for i in range(0, len(starts), _WINDOWS_AT_ONCE):
            windows = [samples[start : start + self.window_samples] for start in starts[i : i + _WINDOWS_AT_ONCE]]
            features = self._extractor(windows, sampling_rate=HEARD_HZ, return_tensors="pt")["input_values"]
            with torch.inference_mode():
                logits = self._network(features.to(self._device)).logits
            found.append(torch.sigmoid(logits.float()).cpu().numpy())
        return np.concatenate(found)

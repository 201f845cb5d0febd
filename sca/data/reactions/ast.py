"""The Audio Spectrogram Transformer as a tagger, run by transformers; it needs torch (extra `live`).

The position embeddings of the model cover about 10 s whatever the window, and the feature extractor pads the rest, so
it costs many times as much as CED. It runs on a GPU if one is available.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.batches.by_length import LengthBatches
from sca.data.reactions.base import WINDOW_SAMPLES, Tagger
from sca.data.reactions.labels import labels_of_config
from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError
from sca.textutil import counted, first_line
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from transformers import ASTFeatureExtractor, ASTForAudioClassification

__all__ = ["AST_FILES", "AstTagger"]

AST_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
"""The files of a model folder."""

_BATCH_SIZE = 8
_HINT = "copy all files of the model there"


class AstTagger(Tagger):
    """The AST model in a folder.

    Raises:
        MissingToolError: torch or a file of the model is missing.
        InputError: The files are not an AST model for audio classification.
    """

    window_samples = WINDOW_SAMPLES

    def __init__(self, folder: Path) -> None:
        missing = [name for name in AST_FILES if not (folder / name).is_file()]
        if missing:
            raise MissingToolError(f"the model in {folder} is incomplete: {', '.join(missing)} is missing", hint=_HINT)
        try:
            import torch
        except ImportError as error:
            raise MissingToolError("an AST tagger needs torch", hint=install_extra("live")) from error
        try:
            self._extractor, network, absent = _load(folder)
            self.labels = labels_of_config(network.config.to_dict())
        except Exception as error:  # safetensors, the JSON parser and torch raise exceptions of their own
            raise InputError(f"{folder} cannot be loaded as an AST tagger: {first_line(error)}", hint=_HINT) from error
        if absent:  # transformers would initialize them at random without an error
            raise InputError(
                f"{folder} is not an AST tagger: it lacks {counted(len(absent), 'weight')}, such as {absent[0]}",
                hint=_HINT,
            )
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._batches = LengthBatches(_BATCH_SIZE)
        self._network: ASTForAudioClassification = network.to(self._device).eval()

    @override
    def scores(self, samples: NDArray[np.float32], starts: Sequence[int]) -> NDArray[np.float32]:
        import torch

        def score(batch: Sequence[int]) -> NDArray[np.float32]:
            windows = [samples[start : start + self.window_samples] for start in batch]
            features = self._extractor(windows, sampling_rate=HEARD_HZ, return_tensors="pt")["input_values"]
            with torch.inference_mode():
                logits = self._network(features.to(self._device)).logits
            found: NDArray[np.float32] = torch.sigmoid(logits.float()).cpu().numpy()
            return found

        return np.stack(self._batches.run(starts, [1] * len(starts), score))


def _load(folder: Path) -> "tuple[ASTFeatureExtractor, ASTForAudioClassification, list[str]]":
    """Load the feature extractor and the network; also return the names of the weights that the files lack."""
    from transformers import ASTFeatureExtractor, ASTForAudioClassification

    with warnings.catch_warnings():
        # 128 bands over 257 bins leave the lowest bands empty; AST was trained like this.
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        extractor = ASTFeatureExtractor.from_pretrained(folder, local_files_only=True)
    network, report = ASTForAudioClassification.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    return extractor, network, sorted(report["missing_keys"])

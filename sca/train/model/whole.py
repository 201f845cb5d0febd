"""Save a thinker that was trained in full as a whole model, which the live engine loads by `qwen.model_id`.

The talker, the vocoder and the tokenizer are those of the checkpoint that the training began with: they are copied once per
run and linked into every checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.config import QwenConfig
from sca.files.atomic import atomic_write, link_or_copy
from sca.models.quiet import quiet_loading

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PretrainedConfig

__all__ = ["WholeModel"]

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_OTHERS = "other-parts.safetensors"
_THINKER = "thinker.safetensors"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".msgpack", ".h5", ".gguf", ".onnx")


class WholeModel:
    """Writes whole models around a trained thinker."""

    def __init__(self, qwen: QwenConfig, config: PretrainedConfig, cache: Path) -> None:
        """Create the writer.

        Args:
            qwen: The settings of the model that the training began with.
            config: Its configuration.
            cache: Folder of the run for the weights that every checkpoint has.
        """
        self._qwen, self._config, self._cache = qwen, config, cache

    def save(self, thinker: Module, folder: Path, weights: dict[str, Tensor] | None) -> None:
        """Write a whole model.

        Args:
            thinker: The trained thinker.
            folder: An existing folder.
            weights: The weights of the thinker, gathered from all processes; None to take them from it.
        """
        learner: Any = thinker
        with quiet_loading():  # as chatty when it writes
            learner.save_pretrained(folder, state_dict=weights)
        names = _weight_map(folder)
        others = self._others(names)
        (folder / _OTHERS).unlink(missing_ok=True)
        link_or_copy(others, folder / _OTHERS)
        names |= dict.fromkeys(_names_in(others), _OTHERS)
        total = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        document = {"metadata": {"total_size": total}, "weight_map": dict(sorted(names.items()))}
        (folder / _INDEX).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        self._config.save_pretrained(folder)
        for path in self._source().iterdir():
            if path.is_file() and not path.name.endswith((*_WEIGHTS, ".index.json")) and path.name != "config.json":
                shutil.copyfile(path, folder / path.name)

    def _source(self) -> Path:
        """Return the folder of the model that the training began with."""
        folder = Path(self._qwen.model_id).expanduser()
        if folder.is_dir():
            return folder
        from huggingface_hub import snapshot_download

        # The files of the model are in the cache of the hub since it was loaded.
        return Path(snapshot_download(self._qwen.model_id, revision=self._qwen.model_revision))

    def _others(self, trained: Iterable[str]) -> Path:
        """Return the file with the weights of the source that the thinker does not have, which is written once."""
        from safetensors import safe_open
        from safetensors.torch import save_file

        path, names = self._cache / _OTHERS, set(trained)
        if not path.is_file():
            weights: dict[str, Tensor] = {}
            for file in sorted(self._source().glob("*.safetensors")):
                with safe_open(file, "pt") as stored:
                    weights |= {name: stored.get_tensor(name) for name in stored.keys() if name not in names}  # noqa: SIM118
            with atomic_write(path) as temporary:
                save_file(weights, temporary, metadata={"format": "pt"})
        return path


def _weight_map(folder: Path) -> dict[str, str]:
    """Return the file of each weight that transformers saved. A single file gets a name that an index may have."""
    if (folder / _SINGLE).is_file():
        (folder / _SINGLE).replace(folder / _THINKER)
        return dict.fromkeys(_names_in(folder / _THINKER), _THINKER)
    found: dict[str, str] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
    return found


def _names_in(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as stored:
        return list(stored.keys())

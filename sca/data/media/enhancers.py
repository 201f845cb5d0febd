"""Loads a speech enhancer by name. The default `none` disables enhancement."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.media.enhance import Enhancer
from sca.distribution import install_packages
from sca.errors import MissingToolError, UsageError
from sca.models import find, resolve
from sca.textutil import first_line

if TYPE_CHECKING:
    import torch

__all__ = ["load_enhancer"]

_NAMES = ("none", "deepfilter", "dtln")


class DeepFilter(Enhancer):
    """DeepFilterNet 3 with its own package, at 48 kHz on the CPU."""

    def __init__(self) -> None:
        """Load the model.

        Raises:
            MissingToolError: The package is not installed, or its weights cannot be loaded.
        """
        try:
            from df.enhance import enhance, init_df
        except (ImportError, OSError) as error:
            raise MissingToolError(
                "--enhance deepfilter needs DeepFilterNet, which is not installed",
                hint=f"{install_packages('deepfilternet')}, in an environment with numpy below 2; or --enhance none",
            ) from error
        try:
            self._model, self._state, _ = init_df(log_level="ERROR")
        except Exception as error:  # it downloads its weights itself, and raises errors of any class
            raise MissingToolError(
                f"DeepFilterNet does not start: {first_line(error)}",
                hint="it downloads its weights the first time; run it once with a network",
            ) from error
        self._enhance: Callable[..., torch.Tensor] = enhance
        self.rate_hz = int(self._state.sr())

    @override
    def enhance(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        # `pad` removes the delay of the model.
        result = self._enhance(self._model, self._state, torch.from_numpy(block.copy())[None], pad=True)
        clean: NDArray[np.float32] = np.asarray(result[0].numpy(), np.float32)
        return clean[: len(block)]


def load_enhancer(name: str, cache_dir: Path | None = None) -> Enhancer | None:
    """Load an enhancer by name; None for `none`.

    Args:
        name: `none`; `deepfilter`, with its own package; or `dtln`, a model of `sca.models`.
        cache_dir: Where fetched models are.

    Raises:
        UsageError: No enhancer has this name.
        MissingToolError: It is not installed or not fetched.
        InputError: Its files cannot be loaded.
    """
    if name == "none":
        return None
    if name == "deepfilter":
        return DeepFilter()
    model, folder = find(name), None
    if model is not None and model.name == "dtln":
        folder = resolve(name, cache_dir)
    if folder is None:
        raise UsageError(f"--enhance is {', '.join(_NAMES)}, got {name!r}")
    from sca.data.media.dtln import Dtln

    return Dtln(folder)

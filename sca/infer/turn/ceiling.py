"""The highest probability that a model can give, and the warning for a threshold that it never exceeds.

The bundled smart-turn v3.2 (int8) stores the input of its last sigmoid in 8 bits: (q - 136) × 0.0393872 for q in 0-255.
Its output is therefore one of 256 numbers, and the largest is sigmoid(119 × 0.0393872). `python
scripts/bench/turn_probabilities.py` reads both constants from the file, and measures what real audio reaches. In
float32 there is no such limit below 1.
"""

import math
from typing import TYPE_CHECKING

from sca.infer.turn.models.precision import choose_precision, has_vnni, runs_in_torch
from sca.infer.turn.models.weights import BUNDLED_SHA256

if TYPE_CHECKING:
    from sca.config import TurnConfig

__all__ = ["BUNDLED_CEILING", "threshold_warning"]

BUNDLED_CEILING = 1 / (1 + math.exp(-119 * 0.039387185))
"""The highest probability of the bundled int8 model: 0.99087."""


def threshold_warning(config: "TurnConfig", sha256: object = None) -> str | None:
    """Return a warning if the model can never exceed the threshold; None if it can, or if the model is another.

    Args:
        config: The settings.
        sha256: The checksum of the model in use; None for the bundled one, unless the settings name another.
    """
    bundled = config.model_id is None if sha256 is None else sha256 == BUNDLED_SHA256
    if not bundled or config.threshold < BUNDLED_CEILING:
        return None
    if runs_in_torch(config.device, config.dtype):
        return None
    if choose_precision("int8", config.dtype, vnni=has_vnni()).dtype != "int8":
        return None
    return (
        f"turn.threshold is {config.threshold:g}, and the highest probability that the bundled model can give is "
        f"{BUNDLED_CEILING:.4f}: at this threshold no turn is finished"
    )

"""Which codec codes a talker can learn from.

The talker of Qwen3-Omni predicts, for every 80 ms, 16 codes of 2048 values, which its `code2wav` makes sound of. The
codes of `sca build-duplex --codes mimi` have the same shape, but they are numbers of another codebook: the same number
means another sound. transformers has the decoder of Qwen's codec and no encoder of it, so no recording can be turned
into the codes that this talker speaks.
"""

from sca.config import Settings
from sca.errors import ConfigError

__all__ = ["check_talker"]

_HINT = "leave train.talker out: the voice stays as it is, and the thinker learns what to say and when"


def check_talker(settings: Settings) -> None:
    """Refuse to train a talker on codes that are not its own.

    Args:
        settings: The settings of the run, with `duplex` as the rows were built.

    Raises:
        ConfigError: `train.talker` is set. No data set has codes of the talker's own codec.
    """
    if not settings.train.talker:
        return
    codes = settings.duplex.codes
    if codes == "none":
        raise ConfigError(
            "train.talker: the rows have no codec codes, and there is no encoder for the codec of the Qwen3-Omni talker",
            hint=_HINT,
        )
    raise ConfigError(
        f"train.talker: the rows have codes of {codes.capitalize()}, and the Qwen3-Omni talker speaks those of another "
        "codec, which has no encoder",
        hint=f"{_HINT}; to train on Mimi codes, sca export --to moshi writes what moshi-finetune reads",
    )

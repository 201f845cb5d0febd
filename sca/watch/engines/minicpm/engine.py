"""The engine `minicpm`: a MiniCPM-V or MiniCPM-o checkpoint on this machine."""

from importlib.util import find_spec

from sca.config import Settings
from sca.distribution import install_extra
from sca.errors import ConfigError, MissingToolError
from sca.watch.engines.base import WatchEngine
from sca.watch.engines.minicpm.checkpoint import open_checkpoint

__all__ = ["load"]


def load(settings: Settings) -> WatchEngine:
    """Load the checkpoint of `vision.checkpoint`.

    Args:
        settings: The section `vision`.

    Raises:
        MissingToolError: torch is not installed, or the checkpoint is not on this machine.
        InputError: A file is missing or damaged, or it is another kind of model.
        ConfigError: The device does not exist, or the code of the checkpoint may not be run.
    """
    for name in ("torch", "transformers"):
        if find_spec(name) is None:
            raise MissingToolError(
                f"the engine minicpm needs {name}, which is not installed", hint=install_extra("live")
            )
    vision = settings.vision
    checkpoint = open_checkpoint(vision)
    device = _device(vision.device)
    if checkpoint.is_native:
        from sca.watch.engines.minicpm.native import load_native

        return load_native(checkpoint, vision, device)
    from sca.watch.engines.minicpm.omni import load_omni

    return load_omni(checkpoint, vision, device)


def _device(name: str) -> str:
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if found else "cpu"
    if name.startswith("cuda") and found <= int(name.partition(":")[2] or 0):
        raise ConfigError(f"vision.device is {name}, and this machine has {found} NVIDIA GPUs", hint="use auto or cpu")
    return name

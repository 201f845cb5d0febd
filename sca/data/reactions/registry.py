"""Load a reaction detector by name."""

from sca.data.reactions.base import Detector

__all__ = ["load_detector"]


def load_detector(name: str) -> Detector | None:
    """The detector called `name`; None for `none`.

    Raises `UsageError` for a name that means nothing, `MissingToolError` when the model, its labels or the extra that runs it is
    missing, `InputError` for a file that is no such model, `UpstreamError` when the hub does not give it.
    """
    if name == "none":
        return None
    if name == "energy":
        from sca.data.reactions.energy import EnergyDetector

        return EnergyDetector()
    from sca.data.reactions.model_files import load_model

    return load_model(name)

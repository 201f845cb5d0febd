"""The alignment models of the setting `duplex.align`."""

from functools import cache
from pathlib import Path

from sca.config import DuplexConfig, Settings
from sca.data.duplex.align.base import WordAligner
from sca.data.duplex.align.ctc import CtcAligner
from sca.data.duplex.align.whisper import WhisperAligner
from sca.word_times.profile import Profile, find_profile

__all__ = ["aligner_model", "aligner_profile", "load_aligner"]

_DEFAULT_MODELS = {"whisper": "small", "ctc": "facebook/wav2vec2-base-960h"}


def aligner_model(duplex: DuplexConfig) -> str | None:
    """Return the name of the alignment model, or None for interpolation, which has none."""
    return None if duplex.align == "interpolate" else duplex.align_model or _DEFAULT_MODELS[duplex.align]


def load_aligner(settings: Settings) -> WordAligner | None:
    """Load the alignment model that the settings name, once per process; None for interpolation.

    Raises:
        MissingToolError, UpstreamError, InputError: See `CtcAligner` and `WhisperAligner`.
    """
    duplex = settings.duplex
    model = aligner_model(duplex)
    if model is None:
        return None
    return _load(duplex.align, model, settings.paths.resolved_cache_dir, duplex.align_language)


def aligner_profile(settings: Settings) -> Profile | None:
    """Return what corrects the word times of the alignment model; None for nothing.

    Raises:
        InputError: The profile of the settings cannot be used.
    """
    duplex, model = settings.duplex, aligner_model(settings.duplex)
    if duplex.align == "interpolate" or model is None:
        return None
    return find_profile(settings.word_times.profile, model, duplex.align, settings.paths.resolved_cache_dir)


@cache
def _load(method: str, model: str, cache_dir: Path, language: str | None) -> WordAligner:
    folder = str(cache_dir / "models")
    return WhisperAligner(model, folder, language) if method == "whisper" else CtcAligner(model, folder)

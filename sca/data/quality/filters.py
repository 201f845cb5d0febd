"""Filters on the quality of recordings: the reasons why a recording is left out, and copies among recordings."""

from collections.abc import Mapping

from sca.config import QualityConfig
from sca.data.quality.fingerprint import Fingerprint, decode_fingerprint
from sca.data.quality.matching import find_matches
from sca.data.quality.measure import Quality
from sca.data.quality.mos import Mos, load_mos

__all__ = ["find_copies_of", "fingerprint_of", "is_filtering", "ready_filters", "reasons_to_drop"]


def is_filtering(filters: QualityConfig) -> bool:
    """Return whether a filter is set."""
    return filters != QualityConfig()


def reasons_to_drop(
    quality: Quality, filters: QualityConfig, copy_of: str | None = None, mos: Mos | None = None
) -> dict[str, str]:
    """Return the filters that leave a recording out, each with its reason. What is unknown leaves nothing out.

    Args:
        quality: The quality of the recording.
        filters: The limits.
        copy_of: The name of the recording that this is a copy of.
        mos: The scores of the recording.
    """
    reasons: dict[str, str] = {}

    def check(name: str, value: float | None, least: float | None, most: float | None, unit: str) -> None:
        if value is not None and least is not None and value < least:
            reasons[name] = f"{name} {value:g}{unit} is below {least:g}{unit}"
        if value is not None and most is not None and value > most:
            reasons[name] = f"{name} {value:g}{unit} is above {most:g}{unit}"

    check("SNR", quality.snr_db, filters.min_snr_db, None, " dB")
    check("clipping", quality.clipping, None, filters.max_clipping, "")
    check("bandwidth", quality.bandwidth_hz, filters.min_bandwidth_hz, None, " Hz")
    check("music", quality.music, None, filters.max_music, "")
    check("language probability", quality.language_probability, filters.min_language_probability, None, "")
    check("MOS", None if mos is None else mos.ovrl, filters.min_mos, None, "")
    wanted = None if filters.language_is is None else filters.language_is.split(",")
    if wanted is not None and quality.language is not None and quality.language not in wanted:
        reasons["language"] = f"language {quality.language} is not {' or '.join(wanted)}"
    if copy_of is not None and filters.copies == "drop":
        reasons["copies"] = f"the same recording as {copy_of}"
    return reasons


def ready_filters(filters: QualityConfig | None) -> QualityConfig:
    """Return filters after the models that they need were loaded, so that a run without one fails at its start.

    Args:
        filters: The filters; None for none.

    Raises:
        MissingToolError: A model is not on this machine.
        InputError: A file is not such a model.
    """
    if filters is not None and filters.min_mos is not None:
        load_mos()
    return filters or QualityConfig()


def fingerprint_of(quality: Quality) -> Fingerprint | None:
    """Return the fingerprint of a recording; None if it has none.

    Raises:
        ValueError: It is broken.
    """
    return decode_fingerprint(quality.sound) if quality.sound else None


def find_copies_of(recordings: Mapping[str, Fingerprint | None]) -> dict[str, str]:
    """Return the recordings that are copies of earlier ones, by name, each with the name of the earlier one."""
    names = sorted(recordings)
    return {names[second]: names[first] for second, first, _ in find_matches([recordings[name] for name in names])}

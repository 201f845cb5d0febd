"""Checks of `sca doctor` outside the installation: the hub, the cache folder and its models, the live engine, the disk."""

import os
import shutil
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from sca.cli.doctor.checks import Check, Status

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["cache", "disk", "engine", "fetched_models", "hub", "turn_threshold"]

_HUB_S = 3.0
_LOW_BYTES = 5 << 30
_SHOWN = 4
_DEFAULTS = {
    "whisper-base": "live speech recognition (recognition.model), word times without a hub",
    "yamnet": "audience reactions in sca transcribe",
    "dvector": "sca transcribe --diarize",
    "piper-joe": "the voice of sca say and sca chat; without it, espeak-ng",
    "smollm2": "the language model of sca chat",
}
"""Models that are used by default if they are on this machine, and for what."""


def hub() -> Check:
    """Check whether models can be downloaded, and list those that already are."""
    from huggingface_hub import constants

    cached = _cached_models(Path(constants.HF_HUB_CACHE))
    if constants.HF_HUB_OFFLINE:
        return Check(
            "hub", Status.warn, f"offline mode (HF_HUB_OFFLINE); {cached}", "unset HF_HUB_OFFLINE to download models"
        )
    reason = _why_unreachable(constants.ENDPOINT)
    if reason is None:
        return Check("hub", Status.ok, f"{constants.ENDPOINT} answers; {cached}")
    fix = "check the network and the proxy (HTTPS_PROXY), or name a mirror in HF_ENDPOINT; models in local folders work"
    return Check("hub", Status.warn, f"{constants.ENDPOINT} does not answer ({reason}); {cached}", fix)


def cache(folder: Path) -> Check:
    """Check the folder of files that can be recreated."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("cache", Status.warn, f"{folder} cannot be written", "set SCA_CACHE_DIR to another folder")
    return Check("cache", Status.ok, f"{folder}{'' if folder.exists() else ' (created when needed)'}")


def fetched_models(folder: Path) -> list[Check]:
    """List the models of the catalogue that are in the cache folder, and those that make a default better."""
    from sca.models import models
    from sca.models.store import installed

    found = [model.name for model in models().values() if installed(model, folder)]
    listed = f"{', '.join(found) or 'none'} ({len(found)} of {len(models())}, see sca models)"
    return [Check("models", Status.ok, listed), *(_default(name, use, found) for name, use in _DEFAULTS.items())]


def _default(name: str, use: str, found: list[str]) -> Check:
    return Check(name, Status.ok, f"here: {use}" if name in found else f"not here: {use} (sca models get {name})")


def engine(settings: "Settings") -> Check:
    """Show the engine that `sca live --mic` and `sca serve` use without --engine, and what a better one needs."""
    from sca.infer.engines.choice import choose_engine

    choice = choose_engine(settings)
    return Check("engine", Status.warn if choice.advice else Status.ok, choice.found, choice.advice)


def turn_threshold(settings: "Settings") -> list[Check]:
    """Check that the turn model can exceed the threshold. Without a problem there is no line."""
    from sca.infer.turn.ceiling import threshold_warning

    warning = threshold_warning(settings.turn)
    return [] if warning is None else [Check("turn", Status.warn, warning, "a lower turn.threshold, such as 0.5")]


def disk(folder: Path) -> Check:
    """Check the free space in the folder of results."""
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.0f} GiB free in {folder}"
    low = free < _LOW_BYTES
    fix = "an hour of 48 kHz FLAC takes about 0.2 GiB: free some space or write to another disk"
    return Check("disk", Status.warn if low else Status.ok, found, fix if low else None)


def _cached_models(folder: Path) -> str:
    models = sorted(path.name.removeprefix("models--").replace("--", "/") for path in folder.glob("models--*"))
    if not models:
        return "no cached models"
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    return f"cached: {', '.join(models[:_SHOWN])}{more}"


def _why_unreachable(endpoint: str) -> str | None:
    """Return why the hub does not answer, or None if it does. An HTTP error is an answer."""
    results: list[str | None] = []

    def request() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_HUB_S):  # noqa: S310 - http only
                results.append(None)
        except urllib.error.HTTPError as error:
            error.close()
            results.append(None)
        except (OSError, ValueError) as error:
            results.append(str(getattr(error, "reason", None) or error))

    # A name lookup has no time limit, so it runs in a thread that may be left behind.
    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(_HUB_S)
    return results[0] if results else f"no answer in {_HUB_S:g} s"

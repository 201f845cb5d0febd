"""What `sca doctor` asks of places: the hub and what of it is here, the cache folder, the disk."""

import os
import shutil
import threading
import urllib.error
import urllib.request
from pathlib import Path

from sca.cli.doctor.checks import Check, Status

__all__ = ["cache", "disk", "hub"]

_HUB_S = 3.0
_LOW_BYTES = 5 << 30
_SHOWN = 4


def hub() -> Check:
    """Whether models can be fetched, and which are here already."""
    from huggingface_hub import constants

    here = _cached(Path(constants.HF_HUB_CACHE))
    if constants.HF_HUB_OFFLINE:
        return Check(
            "hub", Status.warn, f"offline mode (HF_HUB_OFFLINE); {here}", "unset HF_HUB_OFFLINE to fetch models"
        )
    why = _unreachable(constants.ENDPOINT)
    if why is None:
        return Check("hub", Status.ok, f"{constants.ENDPOINT} answers; {here}")
    fix = "check the network and the proxy (HTTPS_PROXY), or name a mirror in HF_ENDPOINT; models in local folders work"
    return Check("hub", Status.warn, f"{constants.ENDPOINT} does not answer ({why}); {here}", fix)


def cache(folder: Path) -> Check:
    """The folder for what can be made again."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Check("cache", Status.warn, f"{folder} cannot be written", "name another in SCA_CACHE_DIR")
    return Check("cache", Status.ok, f"{folder}{'' if folder.exists() else ' (made when needed)'}")


def disk(folder: Path) -> Check:
    """Free space where results would go."""
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.0f} GiB free in {folder}"
    low = free < _LOW_BYTES
    fix = "an hour of 48 kHz FLAC takes about 0.2 GiB: free some space or write elsewhere"
    return Check("disk", Status.warn if low else Status.ok, found, fix if low else None)


def _cached(folder: Path) -> str:
    models = sorted(path.name.removeprefix("models--").replace("--", "/") for path in folder.glob("models--*"))
    if not models:
        return "no cached models"
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    return f"cached: {', '.join(models[:_SHOWN])}{more}"


def _unreachable(endpoint: str) -> str | None:
    """Why the hub does not answer, None when it does. Any answer counts, a refusal too."""
    said: list[str | None] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_HUB_S):  # noqa: S310 - http only
                said.append(None)
        except urllib.error.HTTPError as error:
            error.close()
            said.append(None)
        except (OSError, ValueError) as error:
            said.append(str(getattr(error, "reason", None) or error))

    # Looking up a name knows no time limit, so another thread does it and may be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_HUB_S)
    return said[0] if said else f"no answer in {_HUB_S:g} s"

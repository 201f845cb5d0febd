"""The speaker model of a data set: where the build found it, and whether it is still on this machine.

`settings.json` has its name and digest. Its path is in `.sca`, which is not published, because it belongs to a machine.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sca.data.runs.files import write_json
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.data.speakers.registry import full_reference, speaker_digest
from sca.errors import InputError, UsageError

__all__ = ["find_speaker", "remember_speaker"]

_FILE = Path(".sca") / "speaker_model.json"
_DIGEST = "sha256:"


def remember_speaker(root: Path, name: str) -> None:
    """Write where the speaker model of a data set is. Nothing is written for a data set without one.

    Args:
        root: The data set.
        name: The model, as given to the build.
    """
    if name == NO_SPEAKER_MODEL:
        (root / _FILE).unlink(missing_ok=True)
    else:
        write_json(root / _FILE, {"model": full_reference(name)})


def find_speaker(root: Path, name: str, digest: str | None) -> str | None:
    """Return a reference to the speaker model of a data set; None if it is not on this machine.

    A model from the hub without a folder has no digest, so it is not looked for: loading it can need the network.

    Args:
        root: The data set.
        name: The name of the model in `settings.json`, without folders.
        digest: Its digest.
    """
    if digest is None or _DIGEST not in digest:
        return None
    return next((one for one in _references(root, name) if _digest_of(one) == digest), None)


def _references(root: Path, name: str) -> Iterator[str]:
    with suppress(OSError, ValueError, KeyError, TypeError):  # a copy of the data set has none
        yield str(json.loads((root / _FILE).read_text(encoding="utf-8"))["model"])
    yield name


def _digest_of(reference: str) -> str | None:
    try:
        return speaker_digest(reference)
    except (InputError, UsageError):
        return None

"""Other forms of lhotse data, rewritten as the cuts with one speaker per channel that the reader of cuts reads.

    recordings.jsonl.gz  supervisions.jsonl.gz      manifests without cuts: a cut for each recording
    a padded cut                                    a MixedCut of one cut and padding
    a duplex cut of NeMo                            a MonoCut with the recording of the user, and `target_audio` with
    that
                                                    of the agent; its supervisions have the speakers `user` and `agent`

The documents are plain JSON, because their fields are checked by the reader.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sca.data.runs.json_lines import first_objects, lines_in

__all__ = ["cut_lines", "is_recordings", "plain_cut"]

_AGENTS = frozenset({"agent", "assistant", "system", "model", "bot"})


def is_recordings(source: Path) -> bool:
    """Return whether a file is lhotse's manifest of recordings, with the one of supervisions beside it.

    Raises:
        InputError: The file cannot be read.
    """
    recordings = any("sources" in line and "sampling_rate" in line for line in first_objects(source))
    return recordings and _supervisions(source) is not None


def cut_lines(source: Path, shape: str) -> Iterator[tuple[int, bytes]]:
    """Read the lines of cuts; for a manifest of recordings, a cut for each with the supervisions beside it.

    Args:
        source: The list of cuts or of recordings.
        shape: The hint of the error.

    Raises:
        InputError: A file cannot be read.
    """
    beside = _supervisions(source) if is_recordings(source) else None
    if beside is None:
        yield from lines_in(source, shape)
        return
    by_recording: defaultdict[str, list[Any]] = defaultdict(list)
    for _, line in lines_in(beside, shape):
        document = _object(line)
        by_recording[str(document.get("recording_id"))].append(document)
    for number, line in lines_in(source, shape):
        recording = _object(line)
        name = recording.get("id")
        channels = [channel for entry in recording.get("sources", ()) for channel in entry.get("channels", ())]
        cut = {"id": name, "start": 0, "duration": recording.get("duration"), "channel": channels, "type": "MultiCut"}
        supervisions = by_recording.pop(str(name), [])
        yield number, json.dumps({**cut, "supervisions": supervisions, "recording": recording}).encode()


def plain_cut(document: Any) -> Any:
    """Return a cut as a MonoCut or MultiCut if it is padded or a duplex cut, and other documents unchanged."""
    match document:
        case {"type": "MixedCut", "tracks": [{"cut": dict(cut), **first}, *rest]} if not first.get("offset"):
            # Padding on the left would shift the times, and a second cut is a mix.
            others = [track.get("cut") for track in rest if isinstance(track, dict)]
            if not _is_padding(cut) and all(map(_is_padding, others)):
                return plain_cut({"type": "MultiCut" if isinstance(cut.get("channel"), list) else "MonoCut", **cut})
        case {"type": "MonoCut", "recording": dict(user), "custom": {"target_audio": dict(agent)}}:
            return _duplex(document, user, agent)
    return document


def _duplex(cut: dict[str, Any], user: dict[str, Any], agent: dict[str, Any]) -> dict[str, Any]:
    """Return a duplex cut as a MultiCut: the user on channel 0, the agent on channel 1, both new speakers."""
    sources = [
        {**source, "channels": [channel]}
        for channel, recording in enumerate((user, agent))
        for source in recording.get("sources", ())[:1]
    ]
    supervisions = [
        {**entry, "channel": int(str(entry.get("speaker")).casefold() in _AGENTS)}
        for entry in cut.get("supervisions", ())
    ]
    recording = {**user, "sources": sources, "channel_ids": [0, 1]}
    return {**cut, "type": "MultiCut", "channel": [0, 1], "supervisions": supervisions, "recording": recording}


def _is_padding(cut: Any) -> bool:
    return not isinstance(cut, dict) or cut.get("type") == "PaddingCut" or "recording" not in cut


def _supervisions(source: Path) -> Path | None:
    path = source.with_name(source.name.replace("recordings", "supervisions"))
    return path if path != source and path.is_file() else None


def _object(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}

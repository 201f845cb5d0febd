"""Whether a folder may get a data set of these settings: `settings.json` says with which ones it was built."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sca.config import Settings
from sca.data.duplex.build.plan import read_record
from sca.data.duplex.build.text_rate import resolve_text_tokens
from sca.data.duplex.model.session import SessionPaths
from sca.data.duplex.storage.build_settings import NAME as SETTINGS_FILE
from sca.data.duplex.storage.build_settings import (
    differences,
    earlier_options,
    made_with,
    recorded_speaker,
    tokenizer_of,
    with_new_settings,
    without_others,
    without_repair,
)
from sca.data.runs.files import write_json
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.data.speakers.registry import speaker_digest
from sca.errors import OutputError, writing
from sca.tokenizer.base import TextTokenizer

__all__ = ["OtherSettingsError", "check_settings", "claim_data_set"]

_PAIR = 2  # speakers
_TABLES = ("storage", "train", "validation")


class OtherSettingsError(OutputError):
    """The folder has a data set that was made with other settings."""


def check_settings(root: Path, settings: Settings) -> None:
    """Check that a build with these settings can continue a data set, if there is one. Nothing is written.

    Raises:
        OtherSettingsError: It was made with other settings.
    """
    if not (root / SETTINGS_FILE).exists():
        return
    tokenizer = tokenizer_of(settings)
    if settings.duplex.text_tokens_per_chunk == "auto":
        settings = resolve_text_tokens(settings, root, (), tokenizer, force=False)
    _raise_other(root, *_changes(root, _wanted(settings, tokenizer), settings, tokenizer))


def claim_data_set(root: Path, settings: Settings, tokenizer: TextTokenizer, *, force: bool) -> None:
    """Make sure that the folder is empty or was built with these settings; with `force`, remove what was built.

    Args:
        root: The folder, which is held.
        settings: The settings, without `auto`.
        tokenizer: Their tokenizer.
        force: Whether to replace a data set of other settings.

    Raises:
        OtherSettingsError: It has a data set of other settings, without `force`.
        OutputError: It cannot be written.
    """
    path, wanted = root / SETTINGS_FILE, _wanted(settings, tokenizer)
    if path.exists():
        changed, options = _changes(root, wanted, settings, tokenizer)
        if not force:
            _raise_other(root, changed, options)
        if changed:
            _remove_built(root)
        if _found(path) == wanted:
            return
    write_json(path, wanted)


def _wanted(settings: Settings, tokenizer: TextTokenizer) -> dict[str, object]:
    model = settings.duplex.speaker_model
    digest = None if model == NO_SPEAKER_MODEL else speaker_digest(model)
    return made_with(settings, tokenizer, digest)


def _found(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _changes(
    root: Path, wanted: dict[str, object], settings: Settings, tokenizer: TextTokenizer
) -> tuple[list[str], list[str]]:
    """Return the settings that make another data set of the one in the folder, and the options that continue it."""
    found = _found(root / SETTINGS_FILE)
    if found == wanted:
        return [], []
    # Another choice about repairs, or other weights of the speaker model, need no other folder: the sessions that they
    # affect are built again.
    before = with_new_settings(_with_default_repair(found))
    now = with_new_settings(made_with(without_repair(settings), tokenizer, recorded_speaker(found)))
    changed = differences(before, now)
    if changed and not differences(without_others(before), without_others(now)) and not _has_groups(root):
        changed = []
    return changed, earlier_options(before, now)


def _raise_other(root: Path, changed: Sequence[str], options: Sequence[str]) -> None:
    if changed:
        raise OtherSettingsError(
            f"{root} was made with other settings ({', '.join(changed[:4])})",
            hint=_hint(options),
        )


def _has_groups(root: Path) -> bool:
    """Return whether a session of more than two speakers is built."""
    for file in SessionPaths(root, "any").record.parent.glob("*.json"):
        result = read_record(SessionPaths(root, file.stem))
        if result is not None and result.status == "kept" and result.tracks > _PAIR:
            return True
    return False


def _hint(options: Sequence[str]) -> str:
    keep = f"give {' '.join(options)} to continue it as it is, " if options else "give "
    return (
        f"{keep}another --output, or --force to rebuild it (replaces the tables, the card, the reports and the ledger)"
    )


def _with_default_repair(document: dict[str, Any]) -> dict[str, Any]:
    duplex = document.get("duplex")
    if not isinstance(duplex, dict):
        return document
    return {**document, "duplex": {name: value for name, value in duplex.items() if name != "repair"}}


def _remove_built(root: Path) -> None:
    """Remove what builds wrote, and leave files of others that are in the folder."""
    with writing(root):
        for table in (root / name for name in _TABLES):
            for file in [*table.glob("*.arrow"), *table.glob(".*.tmp")]:
                file.unlink(missing_ok=True)
            for name in ("state.json", "dataset_info.json"):
                (table / name).unlink(missing_ok=True)
            if table.is_dir() and not any(table.iterdir()):
                table.rmdir()
        shutil.rmtree(root / ".sca", ignore_errors=True)
    for name in ("dataset_dict.json", "report.json", "report.html", "ledger.jsonl", "README.md"):
        (root / name).unlink(missing_ok=True)

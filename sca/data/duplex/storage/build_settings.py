"""`settings.json`: everything that decides the bytes of a data set, kept beside it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sca.config import AudioConfig, AugmentConfig, DuplexConfig, Settings
from sca.data.duplex.storage.writer import SCHEMA_VERSION
from sca.data.speakers.base import public_name
from sca.errors import InputError
from sca.textutil import first_line
from sca.tokenizer import TextTokenizer, load_tokenizer

__all__ = ["differences", "made_with", "read_settings", "settings_of", "tokenizer_of"]

NAME = "settings.json"


def tokenizer_of(settings: Settings) -> TextTokenizer:
    """The tokenizer of a data set's settings; loaded once a process, since every session asks for it."""
    duplex = settings.duplex
    return _load(duplex.model_path, duplex.revision, settings.paths.resolved_cache_dir)


@cache
def _load(model_path: str, revision: str | None, cache_dir: Path) -> TextTokenizer:
    return load_tokenizer(model_path, revision=revision, cache_dir=cache_dir)


def made_with(settings: Settings, tokenizer: TextTokenizer) -> dict[str, Any]:
    """The document: schema, grid, duplex settings, and which tokenizer by content."""
    return {
        "schema_version": SCHEMA_VERSION,
        "audio": settings.audio.model_dump(mode="json"),
        "duplex": settings.duplex.model_dump(mode="json")
        | {"speaker_model": public_name(settings.duplex.speaker_model)},
        "augment": settings.augment.model_dump(mode="json"),
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
    }


def read_settings(root: Path) -> dict[str, Any]:
    """What a data set was made with. Raises `InputError` when that is missing, broken or of another schema version."""
    path = root / NAME
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = made.get("schema_version")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{root} is not a duplex data set: it has no {NAME}", hint="sca build-duplex makes one"
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if version != SCHEMA_VERSION:
        older = isinstance(version, int) and version < SCHEMA_VERSION
        raise InputError(
            f"{root} has schema version {version}, this sca reads {SCHEMA_VERSION}",
            hint="an older sca made it: build it again from its corpus with sca build-duplex --force"
            if older
            else "a newer sca made it: update this one",
        )
    return made


def settings_of(made: dict[str, Any]) -> Settings:
    """The settings in such a document. Raises `InputError` where they are not valid."""
    try:
        return Settings(
            audio=AudioConfig(**made["audio"]),
            duplex=DuplexConfig(**made["duplex"]),
            augment=AugmentConfig(**made["augment"]),
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise InputError(f"{NAME} of the data set does not hold valid settings: {first_line(error)}") from error


def differences(found: Any, wanted: Any, prefix: str = "") -> list[str]:
    """Where two documents differ, as `name old, now new`."""
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return [f"{prefix.rstrip('.')} {found!r}, now {wanted!r}"] if found != wanted else []
    return [
        line
        for key in sorted(found.keys() | wanted.keys())
        for line in differences(found.get(key), wanted.get(key), f"{prefix}{key}.")
    ]

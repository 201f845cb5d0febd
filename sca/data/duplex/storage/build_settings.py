"""`settings.json`: everything that decides the bytes of a data set, stored beside it."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from sca.audio.decode import ACCEPT_ANY_DAMAGE_S
from sca.config import AudioConfig, AugmentConfig, DuplexConfig, Settings
from sca.data.duplex.storage.writer import SCHEMA_VERSION
from sca.data.media.folder_contents import describe_files, suffixes_in
from sca.data.speakers.base import public_name
from sca.errors import InputError
from sca.textutil import first_line
from sca.tokenizer import TextTokenizer, load_tokenizer

__all__ = [
    "NAME",
    "differences",
    "earlier_options",
    "made_with",
    "not_a_dataset",
    "parse_settings",
    "read_settings",
    "recorded_speaker",
    "settings_of",
    "tokenizer_of",
    "with_new_settings",
    "without_others",
    "without_repair",
]

NAME = "settings.json"
_SPEAKER = "speaker_digest"

# They decide what is reported and no byte of good data, so data sets of earlier versions have none of them.
_LIMITS = frozenset(
    {
        "repair",
        "min_words_in_speech",
        "max_unlabelled_speech",
        "max_word_offset_s",
        "max_drift",
        "max_same_speech",
        "min_same_voice",
    }
)


# The report names the rows that were left out. Another list rebuilds the sessions that it is about, and needs no other
# folder.
_LISTS = frozenset({"drops"})

# What earlier versions did. It is not written, so that their settings.json and a new one for it are equal.
_EARLIER: dict[str, object] = {"unlabelled_speech": "keep", "others": "leave"}


def tokenizer_of(settings: Settings) -> TextTokenizer:
    """Return the tokenizer of a data set. Loaded once per process, because every session uses it."""
    duplex = settings.duplex
    return _load(duplex.model_path, duplex.revision, settings.paths.resolved_cache_dir)


@cache
def _load(model_path: str, revision: str | None, cache_dir: Path) -> TextTokenizer:
    return load_tokenizer(model_path, revision=revision, cache_dir=cache_dir)


def made_with(settings: Settings, tokenizer: TextTokenizer, speaker: str | None = None) -> dict[str, object]:
    """Return the content of `settings.json`: schema version, settings, and the models by their content.

    Args:
        settings: The settings.
        tokenizer: The tokenizer.
        speaker: The digest of the speaker model (`sca.data.speakers.registry.speaker_digest`); None without one.
    """
    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "audio": _audio_settings(settings.audio),
        "duplex": _duplex_settings(settings.duplex) | {"speaker_model": public_name(settings.duplex.speaker_model)},
        "augment": settings.augment.model_dump(mode="json"),
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
    }
    return document if speaker is None else document | {_SPEAKER: speaker}


def recorded_speaker(document: Mapping[str, object]) -> str | None:
    """Return the digest of the speaker model in the content of a `settings.json`; None without one."""
    digest = document.get(_SPEAKER)
    return digest if isinstance(digest, str) else None


def _duplex_settings(duplex: DuplexConfig) -> dict[str, object]:
    """Return the settings that decide the rows, and the limits of the evidence that are not the default."""
    values = duplex.model_dump(mode="json")
    fields = DuplexConfig.model_fields
    return {
        name: value
        for name, value in values.items()
        if name not in _LISTS
        and not (name in _LIMITS and value == fields[name].default)
        and (name, value) not in _EARLIER.items()
    }


def _audio_settings(audio: AudioConfig) -> dict[str, object]:
    """Return the settings of the grid, and the choice of a track if there is one.

    The limit of damage decides which sessions are built, and no byte of these.
    """
    unset = {name for name in ("track", "language") if getattr(audio, name) is None}
    return audio.model_dump(mode="json", exclude={"accept_damage_s", *unset})


def _audio_of(values: object) -> AudioConfig:
    """Return the settings of the grid of a data set, whose recordings were all accepted."""
    return AudioConfig.model_validate(values).model_copy(update={"accept_damage_s": ACCEPT_ANY_DAMAGE_S})


def without_repair(settings: Settings) -> Settings:
    """Return the settings with the default of `repair`, which decides sessions one by one."""
    default = DuplexConfig.model_fields["repair"].default
    return settings.model_copy(update={"duplex": settings.duplex.model_copy(update={"repair": default})})


def without_others(document: dict[str, object]) -> dict[str, object]:
    """Return the content of a `settings.json` without `others`, which decides nothing for two speakers."""
    duplex = document.get("duplex")
    if not isinstance(duplex, dict):
        return document
    return {**document, "duplex": {name: value for name, value in duplex.items() if name != "others"}}


def earlier_options(found: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    """Return the options that continue a data set of an earlier version, if they settle all differences.

    Args:
        found: The content of its `settings.json`, with new settings.
        wanted: The content that is wanted.
    """
    before, now = (document.get("duplex") for document in (found, wanted))
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return []
    named = [name for name, value in _EARLIER.items() if before.get(name) == value != now.get(name)]
    same = {**wanted, "duplex": now | {name: before[name] for name in named}}
    if differences(found, same):
        return []
    return [f"--{name.replace('_', '-')} {_EARLIER[name]}" for name in named]


def read_settings(root: Path) -> dict[str, object]:
    """Read the `settings.json` of a data set.

    Raises:
        InputError: The file is missing or broken, or has another schema version.
    """
    path = root / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if not root.is_dir():
            what = "is a file, not the folder of a data set" if root.exists() else "does not exist"
            raise InputError(
                f"{root} {what}", hint="give the folder that sca build-duplex or sca export wrote"
            ) from error
        raise not_a_dataset(root) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return parse_settings(text, root)


def not_a_dataset(root: object) -> InputError:
    """Return the error for a folder without `settings.json`."""
    hint = "give a folder that sca build-duplex, or sca export --to parquet or webdataset, wrote; sca build-duplex makes one"
    found = ""
    if isinstance(root, Path) and root.is_dir():
        found = f"; found {describe_files(suffixes_in(root))}"
    if "://" in str(root):  # servers answer 404 to strangers for what is private
        hint = "check the name; what is private needs your credentials"
    return InputError(f"{root} is not a duplex data set: it has no {NAME}{found}", hint=hint)


def parse_settings(text: str | bytes, root: object) -> dict[str, object]:
    """Parse the content of a `settings.json`.

    Args:
        text: The content.
        root: The folder or URL of the data set, for messages.

    Raises:
        InputError: The content is broken, or has another schema version.
    """
    try:
        document: dict[str, object] = json.loads(text)
        version = document.get("schema_version")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{root}/{NAME} cannot be read: {error}") from error
    if version != SCHEMA_VERSION:
        older = isinstance(version, int) and version < SCHEMA_VERSION
        raise InputError(
            f"{root} has schema version {version}, this sca reads {SCHEMA_VERSION}",
            hint="it was built by an older sca: build it again from its corpus with sca build-duplex --force"
            if older
            else "it was built by a newer sca: update sca",
        )
    return document


def settings_of(document: Mapping[str, object]) -> Settings:
    """Return the settings in the content of a `settings.json`.

    Raises:
        InputError: The settings are not valid.
    """
    try:
        return Settings(
            audio=_audio_of(document["audio"]),
            duplex=_duplex_of(document["duplex"]),
            augment=AugmentConfig.model_validate(document["augment"]),
        )
    except (ValidationError, KeyError) as error:
        raise InputError(f"the {NAME} of the data set does not contain valid settings: {first_line(error)}") from error


def _duplex_of(values: object) -> DuplexConfig:
    """Return the duplex settings of a data set. Settings that it does not have are as earlier versions did it."""
    return DuplexConfig.model_validate(_EARLIER | values if isinstance(values, dict) else values)


def with_new_settings(document: Mapping[str, object]) -> dict[str, object]:
    """Return the content of a `settings.json` with the defaults of settings that are newer than the file.

    The content is unchanged if it is not valid.
    """
    try:
        settings = settings_of(document)
    except InputError:
        return dict(document)
    return {
        **document,
        "audio": _audio_settings(settings.audio),
        "duplex": _EARLIER | _duplex_settings(settings.duplex),
        "augment": settings.augment.model_dump(mode="json"),
    }


def differences(found: object, wanted: object, prefix: str = "") -> list[str]:
    """Return where two JSON documents differ, as `name old, now new`."""
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return [f"{prefix.rstrip('.')} {found!r}, now {wanted!r}"] if found != wanted else []
    return [
        line
        for key in sorted(found.keys() | wanted.keys())
        for line in differences(found.get(key), wanted.get(key), f"{prefix}{key}.")
    ]

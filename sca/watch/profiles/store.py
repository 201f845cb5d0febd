"""The profiles that ship with sca, and those of the user: a TOML file with one table per profile."""

import re
import threading
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from sca.config import WatchConfig
from sca.errors import InputError, UsageError, unknown_name
from sca.watch.profiles.model import NAME_PATTERN, Profile

__all__ = ["ProfileStore", "load_profile"]

_MAX_FILE_BYTES = 1_000_000
_MAX_PROFILES = 200


class ProfileStore:
    """The profiles by name; a profile of the user replaces one of sca. May be used by several threads.

    Args:
        path: The file of the user; None for none.

    Raises:
        InputError: The file cannot be read, or has something else in it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._profiles = _shipped() | ({} if path is None else _of_user(path))

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """All profiles, those of sca first."""
        with self._lock:
            return dict(self._profiles)

    def get(self, name: str) -> Profile:
        """Return a profile.

        Raises:
            UnknownNameError: It does not exist.
        """
        profiles = self.profiles
        if name not in profiles:
            raise unknown_name(f"profile {name} does not exist", name, profiles)
        return profiles[name]

    def put(self, name: str, profile: Profile) -> None:
        """Add or replace a profile, for as long as the process runs.

        Raises:
            UsageError: The name is not one, or there are too many profiles.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise UsageError(f"{name!r} is no name of a profile", hint="small letters, digits, - and _; at most 64")
        with self._lock:
            if name not in self._profiles and len(self._profiles) >= _MAX_PROFILES:
                raise UsageError(f"there are {_MAX_PROFILES} profiles already", hint="replace one of them")
            self._profiles[name] = profile


def load_profile(watch: WatchConfig) -> Profile:
    """Return the profile of the settings.

    Raises:
        UnknownNameError: It does not exist.
        InputError: The file of profiles cannot be read.
    """
    return ProfileStore(watch.profiles).get(watch.profile)


def _shipped() -> dict[str, Profile]:
    folder = files("sca.resources") / "watch" / "profiles"
    names = ("commentator", "security", "nature", "sports")
    return {
        name: Profile.model_validate(tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8")))
        for name in names
    }


def _of_user(path: Path) -> dict[str, Profile]:
    hint = 'a table per profile, such as [derby] with instruction = "Comment on the derby."'
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InputError(f"{path}: a file of profiles has at most {_MAX_FILE_BYTES} bytes")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the profiles cannot be read: {error.strerror}", hint="check --profiles") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file: {error}", hint=hint) from error
    if len(document) > _MAX_PROFILES:
        raise InputError(f"{path}: has {len(document)} profiles; at most {_MAX_PROFILES} are read")
    return {name: _checked(path, name, fields) for name, fields in document.items()}


def _checked(path: Path, name: str, fields: object) -> Profile:
    if not re.fullmatch(NAME_PATTERN, name) or not isinstance(fields, dict):
        raise InputError(f"{path}: {name} is no profile", hint="a table whose name has small letters, digits, - and _")
    try:
        return Profile.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (name, *first["loc"])))
        raise InputError(
            f"{path}: {place}: {first['msg']}", hint=f"fields: {', '.join(Profile.model_fields)}"
        ) from error

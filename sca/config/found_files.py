"""The settings files that are read without an option: of the user, and of the working folder."""

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["FILE_NAME", "found_files"]

FILE_NAME = "sca.toml"


def found_files(env: Mapping[str, str]) -> list[Path]:
    """Return the files that exist; a later one wins.

    Args:
        env: The environment. It names the user's folder: `sca` in XDG_CONFIG_HOME, on Windows in APPDATA, or in
            `~/.config`.
    """
    user = _user_folder(env)
    files = [*([user / FILE_NAME] if user else []), Path(FILE_NAME)]
    return [path for path in files if os.path.lexists(path)]


def _user_folder(env: Mapping[str, str]) -> Path | None:
    for variable in ("XDG_CONFIG_HOME", *(["APPDATA"] if os.name == "nt" else [])):
        # The XDG base directory specification requires that a relative path is ignored.
        folder = Path(env.get(variable, ""))
        if folder.is_absolute():
            return folder / "sca"
    home = Path(env.get("HOME") or env.get("USERPROFILE") or "")
    return home / ".config" / "sca" if home.is_absolute() else None

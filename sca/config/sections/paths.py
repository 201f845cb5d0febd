"""The settings of folders."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from sca.config.sections.base import Env, Section, as_path
from sca.errors import ConfigError

__all__ = ["PathsConfig"]


class PathsConfig(Section):
    """Where sca keeps what it can make again."""

    cache_dir: Annotated[Path | None, Env("SCA_CACHE_DIR"), BeforeValidator(as_path)] = Field(
        None, description="Folder for what can be made again. Not set: sca in $XDG_CACHE_HOME, or else in ~/.cache."
    )

    @property
    def resolved_cache_dir(self) -> Path:
        """The folder itself; it may not exist yet. (`load_settings` has looked at XDG_CACHE_HOME.)"""
        if self.cache_dir is not None:
            return self.cache_dir
        try:
            return Path.home() / ".cache" / "sca"
        except RuntimeError as error:
            raise ConfigError("there is no home folder to keep a cache in", hint="set SCA_CACHE_DIR") from error

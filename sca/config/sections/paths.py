"""Settings of folders."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from sca.config.sections.base import Env, Section, as_path
from sca.errors import ConfigError

__all__ = ["PathsConfig"]


class PathsConfig(Section):
    """Where sca keeps files that it can recreate."""

    cache_dir: Annotated[Path | None, Env("SCA_CACHE_DIR"), BeforeValidator(as_path)] = Field(
        None, description="Folder of files that can be recreated. Not set: sca in $XDG_CACHE_HOME, or in ~/.cache."
    )

    @property
    def resolved_cache_dir(self) -> Path:
        """The cache folder, which may not exist yet. `load_settings` has already applied XDG_CACHE_HOME."""
        if self.cache_dir is not None:
            return self.cache_dir
        try:
            return Path.home() / ".cache" / "sca"
        except RuntimeError as error:
            raise ConfigError("no home folder found for the cache", hint="set SCA_CACHE_DIR") from error

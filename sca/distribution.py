"""The version of sca, and the commands that install its extras and other packages.

The distribution on a package index is `sca-duplex`: the name `sca` belongs to another project there. A command depends on
how sca was installed: the environment of a uv project, a tool of uv or pipx, or a plain environment of uv or pip.
"""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

__all__ = [
    "DISTRIBUTION",
    "Installation",
    "Manager",
    "__version__",
    "install_extra",
    "install_packages",
    "program",
    "reinstall",
    "upgrade",
]

__version__ = "0.1.0"

DISTRIBUTION = "sca-duplex"
"""The name on a package index."""

_UV_RUN = "UV_RUN_RECURSION_DEPTH"
"""Set by `uv run` in the environment of what it starts."""


class Manager(StrEnum):
    """The program that manages the environment."""

    uv_project = "uv sync"
    uv_tool = "uv tool"
    uv_pip = "uv pip"
    pipx = "pipx"
    pip = "pip"


@dataclass(frozen=True, slots=True)
class Installation:
    """How sca was installed.

    Attributes:
        manager: The program that manages the environment.
        prefix: The folder of the environment.
        folder: The checkout or source folder that it was installed from; None for a wheel, an index or a repository.
        editable: Whether the checkout itself is imported.
        url: The address of a wheel or repository; None otherwise.
        extras: The extras that a uv tool was installed with.
    """

    manager: Manager
    prefix: Path
    folder: Path | None = None
    editable: bool = False
    url: str | None = None
    extras: tuple[str, ...] = ()

    @classmethod
    def here(cls) -> "Installation":
        """Describe the environment of this process."""
        from importlib import metadata  # 24 ms, which `sca --help` does not need

        try:
            found = metadata.distribution(DISTRIBUTION)
        except metadata.PackageNotFoundError:
            # Imported from a folder on the path
            return cls.read(Path(sys.prefix), installer="pip", direct_url=_checkout_url())
        return cls.read(
            Path(sys.prefix),
            installer=found.read_text("INSTALLER") or "",
            direct_url=found.read_text("direct_url.json"),
        )

    @classmethod
    def read(cls, prefix: Path, *, installer: str, direct_url: str | None) -> "Installation":
        """Describe an environment from the files of its installer.

        Args:
            prefix: The folder of the environment.
            installer: The content of `INSTALLER` (https://packaging.python.org/en/latest/specifications/recording-installed-packages).
            direct_url: The content of `direct_url.json` (https://packaging.python.org/en/latest/specifications/direct-url); None if
                there is no such file.
        """
        from urllib.parse import unquote, urlsplit

        origin = json.loads(direct_url) if direct_url else {}
        address = origin.get("url", "")
        folder = Path(unquote(urlsplit(address).path)) if "dir_info" in origin else None
        editable = bool(origin.get("dir_info", {}).get("editable"))
        url = None if folder or not address else address
        if url and (repository := origin.get("vcs_info")):
            url = f"{repository['vcs']}+{url}@{repository.get('requested_revision', repository['commit_id'])}"
        extras: tuple[str, ...] = ()
        if (prefix / "uv-receipt.toml").is_file():
            manager, extras = Manager.uv_tool, _receipt_extras(prefix / "uv-receipt.toml")
        elif (prefix / "pipx_metadata.json").is_file():
            manager = Manager.pipx
        elif installer.strip() != "uv":
            manager = Manager.pip
        elif folder and editable and prefix.is_relative_to(folder):
            manager = Manager.uv_project
        else:
            manager = Manager.uv_pip
        return cls(manager, prefix, folder, editable, url, extras)

    def extra(self, *names: str) -> str:
        """Return the command that installs extras of sca."""
        if self.manager is Manager.uv_project:
            return _command("uv", "sync", *self._project(), "--inexact", *(f"--extra={name}" for name in names))
        arguments = [*(["-e"] if self.editable else []), self._requirement(sorted({*names, *self.extras}))]
        if self.manager is Manager.uv_tool:
            return _command("uv", "tool", "install", "--force", *arguments)
        if self.manager is Manager.pipx:
            return _command("pipx", "runpip", DISTRIBUTION, "install", *arguments)
        return _command(*self._install(), *arguments)

    def packages(self, *requirements: str) -> str:
        """Return the command that installs other packages beside sca."""
        if self.manager is Manager.uv_tool:
            with_each = [part for requirement in requirements for part in ("--with", requirement)]
            arguments = [*(["-e"] if self.editable else []), self._requirement(self.extras)]
            return _command("uv", "tool", "install", "--force", *with_each, *arguments)
        if self.manager is Manager.pipx:
            return _command("pipx", "inject", DISTRIBUTION, *requirements)
        return _command(*self._install(), *requirements)

    def again(self) -> str:
        """Return the command that installs sca and its dependencies again."""
        if self.manager is Manager.uv_project:
            return _command("uv", "sync", *self._project(), "--inexact")
        if self.manager is Manager.uv_tool:
            return _command("uv", "tool", "install", "--reinstall", self._requirement(self.extras))
        if self.manager is Manager.pipx:
            return _command("pipx", "reinstall", DISTRIBUTION)
        again = "--reinstall" if self.manager is Manager.uv_pip else "--force-reinstall"
        return _command(*self._install(), again, *(["-e"] if self.editable else []), self._requirement(()))

    def upgrade(self, package: str) -> str:
        """Return the command that installs the newest release of a dependency."""
        if self.manager is Manager.uv_project:
            return _command("uv", "sync", *self._project(), "--inexact", "--upgrade-package", package)
        if self.manager is Manager.uv_tool:
            return _command("uv", "tool", "upgrade", "--upgrade-package", package, DISTRIBUTION)
        if self.manager is Manager.pipx:
            return _command("pipx", "runpip", DISTRIBUTION, "install", "--upgrade", package)
        return _command(*self._install(), "--upgrade", package)

    def program(self) -> list[str]:
        """Return the words that start sca with `uv run`, in a shell that need not have its environment on the PATH."""
        return ["uv", "run", *self._project(), "sca"] if self.manager is Manager.uv_project else ["sca"]

    def _project(self) -> list[str]:
        inside = self.folder is not None and Path.cwd().is_relative_to(self.folder)
        return [] if inside else ["--project", str(self.folder)]

    def _install(self) -> list[str]:
        if self.manager in (Manager.uv_pip, Manager.uv_project):
            return ["uv", "pip", "install", "--python", str(self.prefix)]
        pip = shutil.which("pip")
        same = pip is not None and Path(pip).parent == Path(sys.executable).parent
        return ["pip", "install"] if same else [sys.executable, "-m", "pip", "install"]

    def _requirement(self, extras: Sequence[str]) -> str:
        named = f"[{','.join(extras)}]" if extras else ""
        if self.folder:
            return f"{self.folder}{named}"
        return f"{DISTRIBUTION}{named} @ {self.url}" if self.url else f"{DISTRIBUTION}{named}"


@cache
def _here() -> Installation:
    return Installation.here()


def program() -> list[str]:
    """Return the words that start sca in the user's shell.

    `uv run` puts the environment of the project on the PATH of what it starts, and not on that of the shell.
    """
    return _here().program() if _UV_RUN in os.environ else ["sca"]


def install_extra(*names: str) -> str:
    """Return the command that installs extras of sca in this environment."""
    return _here().extra(*names)


def install_packages(*requirements: str) -> str:
    """Return the command that installs other packages in this environment."""
    return _here().packages(*requirements)


def reinstall() -> str:
    """Return the command that installs sca and its dependencies again in this environment."""
    return _here().again()


def upgrade(package: str) -> str:
    """Return the command that installs the newest release of a dependency in this environment."""
    return _here().upgrade(package)


def _command(*arguments: str) -> str:
    return shlex.join(arguments)


def _checkout_url() -> str | None:
    folder = Path(__file__).resolve().parents[1]
    if not (folder / "pyproject.toml").is_file():
        return None
    return json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}})


def _receipt_extras(receipt: Path) -> tuple[str, ...]:
    """Return the extras of sca in the file that uv keeps for a tool."""
    import tomllib

    requirements = tomllib.loads(receipt.read_text(encoding="utf-8")).get("tool", {}).get("requirements", [])
    found = [entry for entry in requirements if isinstance(entry, dict) and entry.get("name") == DISTRIBUTION]
    return tuple(sorted(extra for entry in found for extra in entry.get("extras", [])))

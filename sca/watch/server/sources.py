"""Which videos clients may start: those of the command line and of the settings, and files in folders of the settings."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sca.errors import UsageError
from sca.watch.capture.address import shown_address

__all__ = ["AllowedSources", "SourceRefusedError"]


class SourceRefusedError(UsageError):
    """The operator of the server did not allow a source."""


class AllowedSources:
    """Addresses, and folders whose files are allowed.

    Args:
        given: Addresses as an operator gives them. A folder means the files in it and below it.
    """

    def __init__(self, given: Sequence[str]) -> None:
        self._folders = [Path(one).expanduser().resolve() for one in given if _is_folder(one)]
        self._by_name = {shown_address(one): one for one in given if not _is_folder(one)}

    @property
    def names(self) -> list[str]:
        """The addresses without passwords, in the order in which they were given."""
        return list(self._by_name)

    def find(self, name: str | None) -> str:
        """Return the address that a client means.

        Args:
            name: One of `names`, or the path of a file in an allowed folder; None for the first address.

        Raises:
            SourceRefusedError: It is not allowed.
        """
        if name is None:
            if not self._by_name:
                raise SourceRefusedError("no source is given", hint="start the server with one, or name one")
            return next(iter(self._by_name.values()))
        if name in self._by_name:
            return self._by_name[name]
        if self._folders and "://" not in name and "\0" not in name:
            for folder in self._folders:
                with suppress(OSError):  # a name that is too long
                    found = (folder / name).resolve()
                    if found.is_relative_to(folder) and found.is_file():
                        return str(found)
        # The same message for all, so a client does not learn which files exist.
        raise SourceRefusedError(
            "this source is not allowed", hint="the command line and watch.sources of the server name those that are"
        )


def _is_folder(address: str) -> bool:
    return "://" not in address and Path(address).expanduser().is_dir()

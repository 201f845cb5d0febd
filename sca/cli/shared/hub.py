"""The options of an upload to the Hugging Face hub, for commands that make a data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sca.errors import UsageError

__all__ = ["Hub", "Private", "PushToHub"]

PushToHub = Annotated[
    str | None,
    typer.Option(
        "--push-to-hub",
        metavar="REPO",
        help="Upload the finished data set to this hub repository.",
        show_default=False,
    ),
]
Private = Annotated[bool, typer.Option("--private", help="Make that repository private.")]


@dataclass(frozen=True)
class Hub:
    """Options of the upload."""

    push_to_hub: PushToHub = None
    private: Private = False

    def check(self) -> None:
        """Refuse options that do not fit together.

        Raises:
            UsageError: They do not.
        """
        if self.private and self.push_to_hub is None:
            raise UsageError("--private needs --push-to-hub", hint="add --push-to-hub REPO, or remove --private")

    def push(self, root: Path) -> str | None:
        """Upload a data set if it was requested, and return its URL.

        Args:
            root: The data set.

        Raises:
            InputError: It is not finished.
            UsageError: The hub does not allow the name of the repository.
            UpstreamError: The hub cannot be reached, or refuses the upload.
        """
        if self.push_to_hub is None:
            return None
        from sca.data.datasets.hub import push

        return push(root, self.push_to_hub, private=self.private)

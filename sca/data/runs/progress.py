"""How a run reports its progress."""

from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from sca.data.runs.summary import Outcome

__all__ = ["ItemProgress", "NullProgress", "ProgressListener"]


@dataclass(frozen=True, slots=True)
class ItemProgress:
    """How far an item in progress is.

    Attributes:
        item: The name of the item.
        done: What is done of it, in the unit of the run: seconds of audio or bytes.
        total: The whole of it in the same unit; None if unknown.
        stage: What is being done with it, if the run has stages.
        title: What to call it on a screen; the name of the item if empty.
    """

    item: str
    done: float = 0.0
    total: float | None = None
    stage: str = ""
    title: str = ""


class ProgressListener(Protocol):
    """Callbacks of a run."""

    def on_start(self, total: int, todo: int, audio_s: float) -> None:
        """Handle the start of the work.

        Args:
            total: All items of the run.
            todo: Those that are not done.
            audio_s: The length of those in seconds as far as it is known, else 0.
        """
        ...

    def on_progress(self, progress: ItemProgress) -> None:
        """Handle the progress of an item. Called from worker threads, several times per second for each item."""
        ...

    def on_item_end(self, outcome: Outcome) -> None:
        """Handle the end of an item of this run."""
        ...

    def on_warning(self, message: str) -> None:
        """Handle a warning about the whole run, which is given before its work starts. Ignored by default."""
        return


class NullProgress(ProgressListener):
    """Ignores all callbacks. The base class of listeners that handle only some."""

    @override
    def on_start(self, total: int, todo: int, audio_s: float) -> None: ...

    @override
    def on_progress(self, progress: ItemProgress) -> None: ...

    @override
    def on_item_end(self, outcome: Outcome) -> None: ...

"""Which reaction detector a transcription run uses: the named one or, for `auto`, the best one on this machine."""

from dataclasses import dataclass
from hashlib import sha256

from sca.data.runs.model_identity import model_identity
from sca.errors import MissingToolError
from sca.models import resolve
from sca.resources import reaction_table

__all__ = ["AUTO", "Choice", "choose_detector"]

AUTO = "auto"

_AUTO_MODEL = "yamnet"
_WITHOUT_MODEL = ("none", "energy")
_PREFIX = "pkg:"


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen detector.

    Attributes:
        name: Its name, as `sca.data.reactions.registry.load_detector` takes it.
        note: A remark about the choice, or empty.
    """

    name: str
    note: str = ""

    @property
    def label(self) -> str:
        """The name that timelines record."""
        return self.name.removeprefix(_PREFIX)

    @property
    def identity(self) -> str:
        """What decides its events: a hash of its weights and, for a tagger, of the table of classes and thresholds."""
        identity = model_identity(self.name)
        if self.name in _WITHOUT_MODEL:
            return identity
        return f"{identity} {sha256(reaction_table().encode()).hexdigest()[:12]}"


def choose_detector(name: str) -> Choice:
    """Return the detector of a name.

    Args:
        name: `auto` for `yamnet` if it is on this machine and `none` otherwise, or any other name.
    """
    if name != AUTO:
        return Choice(name)
    model = f"{_PREFIX}{_AUTO_MODEL}"
    try:
        resolve(model)
    except MissingToolError as error:
        return Choice("none", f"audience reactions are not detected, because {error.message}: {error.hint}")
    return Choice(model)

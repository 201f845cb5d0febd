"""The card of a show data set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sca.config import ConvertConfig
from sca.data.datasets.card import Card, CardConfig, Source
from sca.data.speakers.base import public_name
from sca.version import __version__

if TYPE_CHECKING:
    from sca.data.shows.convert import Summary

__all__ = ["card_of"]

_USE = """
```python
import datasets
import sca

tables = datasets.load_from_disk("PATH")  # storage: a show's sound; train: a target a line
rows = datasets.load_dataset("PATH")["train"]  # the same lines, also from the hub; "storage" as second argument gives the sound
chats = sca.easy_load("PATH", format="chat")  # messages with audio; also "talker_chat" and "raw"
```

`audio` (16 kHz) and `clean_audio` (24 kHz) are FLAC bytes: `soundfile.read(io.BytesIO(row["audio"]["bytes"]))`. Times are seconds
from the start of the show's audio. Between `start_sec` and `target_start_sec` is what was heard before, between
`target_start_sec` and `target_end_sec` is `target_text`, spoken.
"""


def card_of(summary: "Summary", sources: Sequence[Source], languages: Sequence[str], config: ConvertConfig) -> Card:
    """The card of a finished run."""
    model = public_name(config.speaker_model)
    left_out = ", ".join(f"{name} {count}" for name, count in sorted(summary.counts.items()) if count)
    facts = {
        "shows": str(summary.shows),
        "rows": str(summary.rows),
        "audio": f"{summary.seconds / 3600:.2f} h",
        "target speech": f"{summary.target_seconds / 3600:.2f} h",
        "without a speaker embedding": f"{summary.without_embedding} of {summary.shows} (model: {model})",
        "enhancement of clean_audio": config.enhance,
        "events merged, mended or left out": left_out or "none",
        "shows left out": f"{len(summary.dropped)} dropped, {len(summary.failed)} failed",
        "made by": f"sca {__version__}, settings in `settings.json`",
    }
    return Card(
        title="Shows with timelines",
        summary="Recordings of one speaker before an audience, cut into what was heard and what was said next.",
        configs=(
            CardConfig("train", "train", "train/*.arrow", summary.rows, default=True),
            CardConfig("storage", "storage", "storage/*.arrow", summary.shows),
        ),
        facts=facts,
        sources=sources,
        languages=languages,
        tags=("audio", "speech", "sca"),
        tasks=("text-to-speech", "automatic-speech-recognition"),
        sections={"Use": _USE},
    )

"""The dataset card of a show data set."""

from collections.abc import Sequence

from sca.config import ConvertConfig
from sca.data.datasets.card import Card, CardConfig, RecordingSource
from sca.data.runs.summary import RunSummary
from sca.data.shows.model import ConvertDetails
from sca.data.speakers.base import public_name
from sca.distribution import __version__

__all__ = ["show_card"]

_USE = """
```python
import datasets
import sca

tables = datasets.load_from_disk("PATH")  # storage: the audio of each show; train: one row per target
rows = datasets.load_dataset("PATH")["train"]  # the same rows, also from the hub; "storage" has the audio
chats = sca.easy_load("PATH", format="chat")  # messages with audio; other formats: "talker_chat" and "raw"
```

`audio` (16 kHz) and `clean_audio` (24 kHz) are FLAC bytes: `soundfile.read(io.BytesIO(row["audio"]["bytes"]))`. Times
are seconds from the start of the show's audio. From `start_sec` to `target_start_sec` is the context, from
`target_start_sec` to `target_end_sec` is the target, the speech with the text `target_text`.
"""


def show_card(
    summary: RunSummary[ConvertDetails],
    sources: Sequence[RecordingSource],
    languages: Sequence[str],
    config: ConvertConfig,
) -> Card:
    """Create the card.

    Args:
        summary: The run that made the data set.
        sources: Where the recordings come from.
        languages: The languages of the shows.
        config: The settings.
    """
    details = summary.details
    counts = ", ".join(f"{name} {count}" for name, count in sorted(details.counts.items()) if count)
    model = public_name(config.speaker_model)
    older = f"; not known for {details.without_speech_spans} of the shows" if details.without_speech_spans else ""
    speech = f"{details.speech}{older}"
    facts = {
        "shows": str(details.shows),
        "rows": str(details.rows),
        "audio": f"{details.audio_s / 3600:.2f} h",
        "target speech": f"{details.target_s / 3600:.2f} h",
        "without a speaker embedding": f"{details.without_embedding} of {details.shows} (model: {model})",
        "enhancement of clean_audio": config.enhance,
        "events merged, changed or left out": counts or "none",
        "speech, by the VAD of the transcription": speech,
        "shows left out": f"{len(summary.dropped)} dropped, {len(summary.failed)} failed",
        "made by": f"sca {__version__}, settings in settings.json",
    }
    return Card(
        title="Shows with timelines",
        summary="Recordings of one speaker before an audience, cut into context and the speech that follows it.",
        configs=(
            CardConfig("train", {"train": "train/*.arrow"}, default=True),
            CardConfig("storage", {"storage": "storage/*.arrow"}),
        ),
        facts=facts,
        sources=sources,
        languages=languages,
        tags=("audio", "speech", "sca"),
        tasks=("text-to-speech", "automatic-speech-recognition"),
        sections={"Use": _USE},
    )

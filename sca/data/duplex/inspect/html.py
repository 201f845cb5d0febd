"""Write the page of `sca inspect --html`, and the frame that `report.html` shares with it.

A page is one file without external resources or libraries.

Text from transcripts goes into a JSON block in which `<`, `>` and `&` are escaped, and the script only makes text nodes
of it. A content security policy names the script and the style by their hashes, so nothing else runs, whatever a
transcript contains.
"""

import base64
import html
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import soundfile

from sca.data.duplex.inspect.audio import mix_audio, peak_levels
from sca.data.duplex.inspect.view import SegmentView, View, WordView
from sca.data.duplex.report.distributions import Plot
from sca.data.duplex.report.wording import interpolated_share, placement_name
from sca.data.runs.files import atomic_write
from sca.errors import OutputError
from sca.textutil import json_text, printable
from sca.units import SPOKEN_HZ

__all__ = ["AUDIO_TYPE", "PEAKS_PER_S", "opus", "tiles", "view_data", "write_frame", "write_page", "write_player"]

PEAKS_PER_S = 100
AUDIO_TYPE = "audio/ogg; codecs=opus"
# libsndfile's Ogg encoders keep whole blocks on the stack, so blocks are small.
_OPUS_BLOCK = 4800
# Label, section and field of the report (or fields to add, with +), and format.
_TILES = (
    ("conversations", "sessions", "kept", "{}"),
    ("hours", "sessions", "hours", "{:.2f}"),
    ("rows", None, "rows", "{}"),
    ("words in rows", "coverage", "share", "{:.2%}"),
    ("tokens", "placement", "tokens", "{}"),
    ("tokens dropped or left out", "coverage", "tokens_dropped+tokens_dropped_on_request", "{}"),
    ("rows left out on request", "coverage", "rows_left_out", "{}"),
    ("unlabelled speech", "unlabelled", "speech_s", "{:.1f} s"),
    ("chunks without labels", "unlabelled", "chunks", "{}"),
    ("silent chunks", "chunks", "silent_share", "{:.1%}"),
    ("tokens after their onset", "leak", "lagged_tokens", "{}"),
    ("speech in overlap", "talk", "overlap_share", "{:.1%}"),
    ("backchannels per minute", "talk", "backchannels_a_minute", "{:.2f}"),
    ("cross-talk between tracks", "bleed", "bleed_s", "{:.1f} s"),
    ("no speaker embedding", "audio", "missing_embeddings", "{} tracks"),
)


def write_page(
    path: Path,
    report: Mapping[str, Any],
    plots: Sequence[Plot],
    view: View,
    on_audio: Callable[[float], None] | None = None,
) -> int:
    """Write the page of a row or conversation and return its size in bytes.

    Args:
        path: The file.
        report: The content of `report.json`.
        plots: Plots of the data set.
        view: The row or conversation. Its audio is embedded as Ogg Opus.
        on_audio: Called with the seconds of audio that were encoded, a part at a time. Encoding takes most of the time.
    """
    more = {"tiles": tiles(report), "plots": [asdict(plot) for plot in plots]}
    return write_player(path, view.title, _subtitle(view), view_data(view), opus(view, on_audio), more)


def write_player(
    path: Path,
    title: str,
    subtitle: str,
    view: Mapping[str, object],
    sound: bytes,
    more: Mapping[str, object] | None = None,
) -> int:
    """Write a page that draws and plays a conversation, and return its size in bytes.

    Args:
        path: The file.
        title: The title.
        subtitle: Text below the title.
        view: What the page draws, see `view_data`.
        sound: Stereo Ogg Opus.
        more: The tiles and plots below it; None for none.
    """
    data = {"tiles": [], "plots": [], "view": view, **(more or {})}
    audio = f'<script type="application/ogg" id="audio">{base64.b64encode(sound).decode()}</script>'
    return write_frame(path, title, html.escape(printable(subtitle)), data, _resource("player.html"), audio)


def write_frame(
    path: Path, title: str, subtitle: str, data: Mapping[str, object], body: str = "", audio: str = ""
) -> int:
    """Write a page and return its size in bytes.

    Args:
        path: The file.
        title: The title.
        subtitle: HTML below the title.
        data: What the script of the page draws.
        body: HTML before the numbers of the data set.
        audio: The element with the audio.
    """
    style, script = _resource("page.css"), _resource("view.js") + _resource("page.js")
    parts = {
        "policy": (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; media-src blob:; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        "title": html.escape(printable(title)),
        "subtitle": subtitle,
        "style": style,
        "script": script,
        "player": body,
        "audio": audio,
        "data": _json(data),
    }
    text = "".join(_fill_in(_resource("page.html"), parts))
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return len(text.encode())


def _subtitle(view: View) -> str:
    flags = f", flags: {', '.join(view.flags)}" if view.flags else ""
    return (
        f"{view.duration_s:.2f} s from {view.first_chunk * view.chunk_s:.2f} s of session {view.session_id}, "
        f"{view.n_chunks} chunks{flags}"
    )


def _fill_in(template: str, parts: Mapping[str, str]) -> Iterator[str]:
    """Replace the marks of a template in one pass, because a transcript may contain the mark of another part."""
    for piece in template.split("{{"):
        name, closed, rest = piece.partition("}}")
        yield from (parts[name], rest) if closed and name in parts else (piece,)


def _resource(name: str) -> str:
    return (files("sca.resources") / "inspect" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


def _json(document: object) -> str:
    text = json_text(document, compact=True)
    # In a script element only these characters could end it or start something else.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def tiles(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the main numbers as (label, text). Fields that the report does not have are left out."""
    found = []
    for label, section, name, template in _TILES:
        values = report if section is None else report.get(section)
        numbers = [values.get(part) if isinstance(values, Mapping) else None for part in name.split("+")]
        if all(isinstance(number, int | float) for number in numbers):
            found.append((label, template.format(sum(filter(None, numbers)))))
    error = f"{report['placement']['mean_error_s']:.3f} s"
    return [*found, (f"{placement_name(interpolated_share(report['align_source']))}, mean", error)]


def view_data(view: View) -> dict[str, object]:
    """Return what the script of a page (`sca/resources/inspect/view.js`) draws of a view."""
    roles = (" (heard, left ear)", " (spoken, right ear)") if view.row_id is not None else ("",) * len(view.speakers)
    speakers = [
        {
            "id": name,
            "label": f"{name}{role}",
            "peaks": base64.b64encode(peak_levels(view, track, PEAKS_PER_S).tobytes()).decode(),
            "words": [_word_data(word) for word in view.words if word.speaker == n],
        }
        for n, (name, track, role) in enumerate(zip(view.speakers, view.tracks, roles, strict=True))
    ]
    return {
        "duration_s": view.duration_s,
        "chunk_s": view.chunk_s,
        "peaks_per_s": PEAKS_PER_S,
        "tokens_per_chunk": max([2, *(token.k + 1 for side in view.sides for token in side.tokens)]),
        "audio_type": AUDIO_TYPE,
        "speakers": speakers,
        "segments": [_segment_data(segment) for segment in view.segments],
        "overlaps": [[round(start, 3), round(end, 3)] for start, end in view.overlaps],
        "sides": [asdict(side) for side in view.sides],
    }


def _word_data(word: WordView) -> dict[str, str | float]:
    return {"text": word.text, "start_s": round(word.start_s, 3), "end_s": round(word.end_s, 3)}


def _segment_data(segment: SegmentView) -> dict[str, str | float | None]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(segment).items()}


def opus(view: View, on_audio: Callable[[float], None] | None = None) -> bytes:
    """Encode the audio of a view as stereo Ogg Opus.

    Args:
        view: The view.
        on_audio: Called with the seconds of audio that were encoded, a part at a time.
    """
    with tempfile.TemporaryDirectory(prefix="sca-page-") as folder:
        path = Path(folder) / "sound.ogg"
        try:
            with soundfile.SoundFile(path, "w", SPOKEN_HZ, 2, "OPUS", format="OGG") as out:
                for block in mix_audio(view, SPOKEN_HZ, 2):
                    for at in range(0, len(block), _OPUS_BLOCK):
                        out.write(block[at : at + _OPUS_BLOCK])
                    if on_audio is not None:
                        on_audio(len(block) / SPOKEN_HZ)
        except soundfile.LibsndfileError as error:
            raise OutputError(f"the audio of {view.title} cannot be written to {folder}: {error}") from error
        return path.read_bytes()

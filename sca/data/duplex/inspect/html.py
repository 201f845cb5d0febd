"""`report.html` and the page of `sca inspect --html`: one file, nothing loaded from anywhere, no library.

What comes from transcripts goes into a JSON block whose `<`, `>` and `&` are escaped, and the script makes text nodes of it. A
content policy names the script and the style by their hashes, so nothing else runs, whatever a transcript holds.
"""

import base64
import html
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import soundfile

from sca.data.duplex.inspect.view import View, levels, mixed
from sca.data.duplex.report.distributions import Plot
from sca.data.runs.files import atomic_write
from sca.errors import OutputError
from sca.units import SPOKEN_HZ

__all__ = ["PEAKS_PER_S", "write_page"]

PEAKS_PER_S = 100
# libsndfile's Ogg encoders keep whole blocks on the stack: small ones.
_OPUS_BLOCK = 4800


def write_page(
    path: Path,
    report: Mapping[str, Any],
    plots: Sequence[Plot],
    view: View | None = None,
    on_sound: Callable[[float], None] | None = None,
) -> int:
    """Write the page; returns its size in bytes.   view: the conversation to show, its sound inside as Ogg Opus.

    on_sound: told the seconds of sound that were encoded, some at a time; they are what a long conversation waits for.
    """
    data = {"tiles": _tiles(report), "plots": [asdict(plot) for plot in plots], "view": None}
    audio = player = ""
    title, subtitle = (
        "A full-duplex data set",
        "sca inspect DATA ROW --html shows a conversation of it, with its sound.",
    )
    if view is not None:
        data["view"] = _view(view)
        title = view.title
        flags = f", flags: {', '.join(view.flags)}" if view.flags else ""
        subtitle = (
            f"{view.duration_s:.2f} s from {view.first_chunk * view.chunk_s:.2f} s of session {view.session_id}, {view.n_chunks} "
            f"chunks{flags}"
        )
        player = _resource("player.html")
        audio = f'<script type="application/ogg" id="audio">{_opus(view, on_sound)}</script>'
    style, script = _resource("page.css"), _resource("page.js")
    parts = {
        "policy": (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; media-src blob:; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "style": style,
        "script": script,
        "player": player,
        "audio": audio,
        "data": _json(data),
    }
    text = "".join(_filled(_resource("page.html"), parts))
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return len(text.encode())


def _filled(template: str, parts: Mapping[str, str]) -> Iterable[str]:
    """Put the parts in, each once and not looked at again: a transcript may hold the mark of another part."""
    for piece in template.split("{{"):
        name, closed, rest = piece.partition("}}")
        yield from (parts[name], rest) if closed and name in parts else (piece,)


def _resource(name: str) -> str:
    return (files("sca.resources") / "inspect" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


def _json(document: Any) -> str:
    plain = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # In a script element only these could end it or begin something else.
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _tiles(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers at a glance; what a report does not have is left out."""

    def of(section: str, name: str, form: str) -> str | None:
        value = (report.get(section) or {}).get(name)
        return form.format(value) if isinstance(value, int | float) else None

    found = [
        ("conversations", of("sessions", "kept", "{}")),
        ("hours", of("sessions", "hours", "{:.2f}")),
        ("rows", f"{report['rows']}" if "rows" in report else None),
        ("words in rows", of("coverage", "share", "{:.2%}")),
        ("tokens", of("placement", "tokens", "{}")),
        ("tokens dropped", of("coverage", "tokens_dropped", "{}")),
        ("token-time error, mean", of("placement", "mean_error_s", "{:.3f} s")),
        ("token-time error, p95", of("placement", "p95_error_s", "{:.2f} s")),
        ("silent chunks", of("chunks", "silent_share", "{:.1%}")),
        ("leak by placement", of("leak", "placement_tokens", "{} tokens")),
        ("tokens past their onset", of("leak", "lagged_tokens", "{}")),
        ("speech in overlap", of("talk", "overlap_share", "{:.1%}")),
        ("backchannels a minute", of("talk", "backchannels_a_minute", "{:.2f}")),
        ("bleed between tracks", of("bleed", "bleed_s", "{:.1f} s")),
        ("no voice embedding", of("audio", "missing_embeddings", "{} tracks")),
    ]
    return [(name, value) for name, value in found if value is not None]


def _view(view: View) -> dict[str, Any]:
    row = view.row_id is not None
    speakers = []
    for n, (name, track) in enumerate(zip(view.speakers, view.tracks, strict=True)):
        role = ("heard, left ear" if n == 0 else "spoken, right ear") if row else ""
        speakers.append(
            {
                "id": name,
                "label": f"{name} ({role})" if role else name,
                "peaks": base64.b64encode(levels(view, track, PEAKS_PER_S).tobytes()).decode(),
                "words": [_word(word) for word in view.words if word.speaker == n],
            }
        )
    return {
        "duration_s": view.duration_s,
        "chunk_s": view.chunk_s,
        "peaks_per_s": PEAKS_PER_S,
        "tokens_per_chunk": max([2, *(token.k + 1 for side in view.sides for token in side.tokens)]),
        "audio_type": "audio/ogg; codecs=opus",
        "speakers": speakers,
        "pieces": [_rounded(asdict(piece)) for piece in view.pieces],
        "overlaps": [[round(start, 3), round(end, 3)] for start, end in view.overlaps],
        "sides": [asdict(side) for side in view.sides],
    }


def _word(word: Any) -> dict[str, Any]:
    return {"text": word.text, "start_s": round(word.start_s, 3), "end_s": round(word.end_s, 3)}


def _rounded(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in plain.items()}


def _opus(view: View, on_sound: Callable[[float], None] | None) -> str:
    """The sound as base64 of Ogg Opus, stereo."""
    with tempfile.TemporaryDirectory(prefix="sca-page-") as folder:
        path = Path(folder) / "sound.ogg"
        try:
            with soundfile.SoundFile(path, "w", SPOKEN_HZ, 2, "OPUS", format="OGG") as out:
                for block in mixed(view, SPOKEN_HZ, 2):
                    for at in range(0, len(block), _OPUS_BLOCK):
                        out.write(block[at : at + _OPUS_BLOCK])
                    if on_sound is not None:
                        on_sound(len(block) / SPOKEN_HZ)
        except soundfile.LibsndfileError as error:
            raise OutputError(f"the sound of {view.title} cannot be written to {folder}: {error}") from error
        return base64.b64encode(path.read_bytes()).decode()

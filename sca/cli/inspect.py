"""`sca inspect`: look at a row or a conversation, in the terminal, as a page, by ear."""

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, out, stderr
from sca.cli.shared.options import Backend, ConfigFile, Json, Quiet, SetValues, settings_from
from sca.cli.shared.progress import audio_progress
from sca.errors import UsageError, check_target
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.duplex.inspect.view import View

__all__ = ["inspect"]

_BINS_PER_S = 100
_LONG_PAGE_S = 1200
_SHORT_S = 120


def inspect(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data set made by sca build-duplex.")],
    row: Annotated[
        str | None,
        typer.Argument(
            metavar="ROW",
            help="A row's id or number, or a session's id; the first row if not given.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a page with sound instead, whole in one file.", show_default=False
        ),
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Play it, all speakers mixed.")] = False,
    output_device: Annotated[
        str | None,
        typer.Option("--output-device", metavar="NAME", help="Which loudspeaker, see sca devices.", show_default=False),
    ] = None,
    backend: Backend = "miniaudio",
    config: ConfigFile = None,
    set_values: SetValues = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show who says what when and where the tokens stand; `--html` makes a page of it that plays.

    Without `--html` a timeline is printed: loudness, segments (─ turn, · backchannel, ━ interruption), words, and below them the
    tokens, chunk by chunk.
    """
    from sca.data.duplex.inspect.html import write_page
    from sca.data.duplex.inspect.view import BLOCK_S, look_at, mixed
    from sca.data.duplex.report.distributions import histograms, plots
    from sca.data.duplex.storage.build_settings import settings_of, tokenizer_of
    from sca.data.duplex.storage.reader import open_source
    from sca.units import SPOKEN_HZ

    if html is not None and html.is_dir():
        raise UsageError(f"{html} is a folder", hint="give the page a name, such as --html report.html")
    if html is not None:
        check_target(html)
    given = settings_from(config, set_values)
    source = open_source(data)
    tokenizer = tokenizer_of(settings_of(source.made).model_copy(update={"paths": given.paths}))
    view = look_at(source, tokenizer, row)
    if html is not None:
        if view.duration_s > _LONG_PAGE_S and not quiet:
            stderr().print(
                f"sca: {view.duration_s / 60:.0f} minutes make a large page (about 0.8 MB a minute); a row makes a small one",
                markup=False,
            )
        counts = histograms(source.batches(), float(source.grid.chunk_s))
        # A row is encoded in a moment; a conversation of ten minutes takes half a minute.
        with audio_progress("parts of its sound", quiet=quiet or view.duration_s < _SHORT_S) as progress:
            progress.start(parts := math.ceil(view.duration_s / BLOCK_S), parts)
            size = write_page(
                html, source.report, plots(source.report, counts), view, partial(progress.advance, view.title)
            )
        if as_json:
            emit_json({"page": str(html), "bytes": size, "title": view.title, "seconds": view.duration_s})
        else:
            out().print(f"{view.title}, {view.duration_s:.2f} s, in {html} ({size / 1e6:.1f} MB)", markup=False)
    elif as_json:
        emit_json(_document(view))
    else:
        _show(view)
    if play:
        from sca.infer.audio_io.playback import play as play_out

        sound = (block[:, 0] for block in mixed(view, SPOKEN_HZ, 1, block_s=1))
        play_out(sound, SPOKEN_HZ, backend=backend, device=output_device)


def _document(view: "View") -> dict[str, Any]:
    """The view without its sound."""
    return {
        "row_id": view.row_id,
        "session_id": view.session_id,
        "split": view.split,
        "first_chunk": view.first_chunk,
        "n_chunks": view.n_chunks,
        "chunk_s": view.chunk_s,
        "speakers": list(view.speakers),
        "flags": list(view.flags),
        "words": [asdict(word) for word in view.words],
        "segments": [asdict(piece) for piece in view.pieces],
        "overlaps": [list(one) for one in view.overlaps],
        "sides": [asdict(side) for side in view.sides],
    }


def _show(view: "View") -> None:
    from sca.cli.shared.timeline import printable, timeline
    from sca.data.duplex.inspect.view import levels

    console = out()
    flags = f", flags: {', '.join(view.flags)}" if view.flags else ""
    tokens = sum(token.control is None for side in view.sides for token in side.tokens)
    console.print(
        f"{printable(view.title)}: {view.duration_s:.2f} s, {counted(view.n_chunks, 'chunk')}, {counted(tokens, 'text token')}, "
        f"{counted(len(view.overlaps), 'overlap')}{flags}\n",
        markup=False,
    )
    loud = [levels(view, track, _BINS_PER_S).tolist() for track in view.tracks]
    for line in timeline(view, loud, _BINS_PER_S, console.width):
        console.print(line)

"""`sca inspect`: show a row or a conversation in the terminal, as a web page, or by ear."""

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.completion import complete_rows
from sca.cli.shared.console import emit_json, out, print_line, print_note, print_notes
from sca.cli.shared.options import Backend, Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure, UsageError, check_target
from sca.textutil import command_line, counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.duplex.inspect.view import View
    from sca.data.duplex.storage.reader import DatasetReader
    from sca.tokenizer import TextTokenizer

__all__ = ["inspect"]

_BINS_PER_S = 100
_LONG_PAGE_S = 1200
_SHORT_S = 120


@settings_options()
def inspect(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data set made by sca build-duplex.")],
    row: Annotated[
        str | None,
        typer.Argument(
            metavar="ROW",
            autocompletion=complete_rows,
            help="Id or number of a row, or id of a session. Not set: the first row.",
            show_default=False,
        ),
    ] = None,
    *,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a self-contained page with audio.", show_default=False),
    ] = None,
    pages: Annotated[
        int | None,
        typer.Option(
            "--pages",
            metavar="N",
            min=1,
            max=1000,
            help="Write pages with audio of the N rows to look at to DATA/inspect, and link them in report.html.",
            show_default=False,
        ),
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Play the audio, with all speakers mixed.")] = False,
    output_device: Annotated[
        str | None,
        typer.Option("--output-device", metavar="NAME", help="Loudspeaker; see sca devices.", show_default=False),
    ] = None,
    backend: Backend = "miniaudio",
    settings: "Settings",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a row or a conversation: as a timeline in the terminal, as a page with audio, or by playing it.

    The timeline shows loudness, segments (─ turn, · backchannel, ━ interruption), words, and below them the tokens,
    chunk by chunk (· silence, ? no label, because the words of the speaker are unknown).
    """
    from sca.data.duplex.inspect.audio import mix_audio
    from sca.data.duplex.inspect.view import open_view
    from sca.data.duplex.storage.build_settings import settings_of, tokenizer_of
    from sca.data.duplex.storage.reader import open_dataset
    from sca.units import SPOKEN_HZ

    if html is not None:
        if html.is_dir():
            raise UsageError(f"{html} is a folder", hint="give the page a name, such as --html report.html")
        check_target(html)
    source = open_dataset(data)
    tokenizer = tokenizer_of(settings_of(source.build_settings).model_copy(update={"paths": settings.paths}))
    if pages is not None:
        if row is not None or html is not None or play:
            raise UsageError("--pages chooses the rows itself", hint="give --pages without ROW, --html and --play")
        _write_pages(source, tokenizer, pages, quiet=quiet, as_json=as_json)
        return
    view = open_view(source, tokenizer, row)
    if html is not None:
        size = _write_page(html, source, view, quiet=quiet)
        if as_json:
            document = {"page": str(html), "bytes": size, "title": view.title, "seconds": view.duration_s}
            emit_json(document, "html")
        else:
            print_line(f"{view.typed_name}, {view.duration_s:.2f} s, in {html} ({size / 1e6:.1f} MB)")
    elif as_json:
        emit_json(_document(view))
    else:
        _show(view)
    if play:
        from sca.infer.audio_io.playback import play as play_audio

        blocks = (block[:, 0] for block in mix_audio(view, SPOKEN_HZ, 1, block_s=1))
        play_audio(blocks, SPOKEN_HZ, backend=backend, device=output_device)


def _write_pages(
    source: "DatasetReader", tokenizer: "TextTokenizer", count: int, *, quiet: bool, as_json: bool
) -> None:
    from sca.data.duplex.inspect.row_pages import write_row_pages
    from sca.data.duplex.model.row_names import typed_row_id

    with audio_progress("pages", quiet=quiet) as progress:
        pages, failed = write_row_pages(
            source,
            tokenizer,
            count,
            on_start=progress.start,
            on_page=lambda row, seconds: progress.advance(typed_row_id(row), seconds),
        )
    report = source.root / "report.html"
    if as_json:
        paths = {row: str(source.root / page) for row, page in pages.items()}
        emit_json({"pages": paths, "failed": dict(failed), "report": str(report)}, "pages")
    else:
        print_line(f"{counted(len(pages), 'page')} in {source.root / 'inspect'}, linked in {report}")
    if failed:
        print_notes([f"{typed_row_id(row)}: failed: {reason}" for row, reason in failed])
        again = f"{command_line('inspect', source.root)} ROW --html FILE"
        raise PartialFailure(
            f"{counted(len(failed), 'page')} failed",
            hint=f"the other pages were written; {again} prints the whole error of a row",
        )


def _write_page(html: Path, source: "DatasetReader", view: "View", *, quiet: bool) -> int:
    """Write the page and return its size in bytes."""
    from sca.data.duplex.inspect.audio import BLOCK_S
    from sca.data.duplex.inspect.html import write_page
    from sca.data.duplex.report.distributions import plots
    from sca.data.duplex.report.survey import survey

    if view.duration_s > _LONG_PAGE_S and not quiet:
        print_note(
            f"sca: the page for {view.duration_s / 60:.0f} minutes will be large, about 0.8 MB per minute; "
            "give a row for a small page",
        )
    counts = survey(source.batches(), float(source.grid.chunk_s), source.report).histograms
    # A row is encoded at once; a conversation of ten minutes takes half a minute.
    with audio_progress("parts of the audio", quiet=quiet or view.duration_s < _SHORT_S) as progress:
        parts = math.ceil(view.duration_s / BLOCK_S)
        progress.start(parts, parts)
        return write_page(
            html, source.report, plots(source.report, counts), view, partial(progress.advance, view.title)
        )


def _document(view: "View") -> dict[str, object]:
    """Return the view without its audio."""
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
        "segments": [asdict(segment) for segment in view.segments],
        "overlaps": [list(overlap) for overlap in view.overlaps],
        "sides": [asdict(side) for side in view.sides],
    }


def _show(view: "View") -> None:
    from sca.cli.shared.timeline import timeline
    from sca.data.duplex.inspect.audio import peak_levels

    console = out()
    flags = f", flags: {', '.join(view.flags)}" if view.flags else ""
    tokens = sum(token.control is None for side in view.sides for token in side.tokens)
    console.print(
        f"{view.typed_name}: {view.duration_s:.2f} s, {counted(view.n_chunks, 'chunk')}, {counted(tokens, 'text token')}, "
        f"{counted(len(view.overlaps), 'overlap')}{flags}"
    )
    console.print()
    loudness = [peak_levels(view, track, _BINS_PER_S).tolist() for track in view.tracks]
    for line in timeline(view, loudness, _BINS_PER_S, console.width):
        console.print(line)

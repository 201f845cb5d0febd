"""`sca demo`: the main job on a conversation that ships with sca: build, verify, show."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import Json
from sca.cli.verify import show_verification
from sca.errors import OutputError, VerificationError, writing
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.duplex.load.dataset import DuplexDataset
    from sca.data.duplex.verify.check_table import Verification

__all__ = ["demo"]

_CHUNKS_SHOWN = 28


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to make it.")] = Path(
        "dataset/demo"
    ),
    json: Json = False,
) -> None:
    """Build, prove and show a data set from a one-minute conversation that ships with sca. No network, no GPU."""
    from sca.config import load_settings
    from sca.data.duplex.build.dataset import build_duplex
    from sca.data.duplex.load.dataset import load
    from sca.data.duplex.verify.dataset import verify
    from sca.resources import demo_corpus

    settings = load_settings(overrides={"duplex.model_path": "builtin:qwen"})
    corpus = output / "corpus"
    with demo_corpus() as shipped, writing(output):
        if output.exists() and not corpus.exists() and any(output.iterdir()):
            raise OutputError(f"{output} has other files in it", hint="give an empty folder with --output")
        # One after the other: `copytree` puts what the system refuses into an error of its own, as text.
        for file in sorted(path for path in shipped.rglob("*") if path.is_file()):
            copy = corpus / file.relative_to(shipped)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    data = output / "duplex"
    summary = build_duplex(corpus, data, settings, force=True)
    outcome = verify(data, cache_dir=settings.paths.resolved_cache_dir)
    if json:
        emit_json(
            {
                "corpus": str(corpus),
                "data": str(data),
                "holds": outcome.holds,
                "report": summary.report.model_dump(mode="json"),
            }
        )
    else:
        _show(corpus, data, load(data), outcome)
    if not outcome.holds:
        raise VerificationError(f"the demo data set does not hold: {outcome.problems[0]}")


def _show(corpus: Path, data: Path, rows: "DuplexDataset", outcome: "Verification") -> None:
    console = out()
    row = rows.record(0)
    console.print(
        f"[bold]A row[/]: {row['row_id']}, {counted(row['n_chunks'], 'chunk')} of 0.32 s, "
        f"{counted(len(row['input_ids']), 'token')}",
        highlight=False,
    )
    console.print(
        "each line is a chunk; a word is said one chunk before its sound begins, so before it could be heard\n"
    )
    for line in _chunk_lines(rows, row):
        console.print(line, markup=False)
    console.print("\n[bold]The proof[/]")
    show_verification(outcome)
    console.print(f"\nThe corpus (two speakers, one file each) is in {corpus}")
    console.print(f"The data set (a datasets.DatasetDict: storage, train) is in {data}")
    console.print("\nTry next:")
    console.print(f"  sca verify {data}", markup=False)
    console.print(
        f"  sca build-duplex {corpus} --output {data.parent / 'session'} --window session",
        markup=False,
    )
    console.print("  sca config show", markup=False)


def _chunk_lines(rows: "DuplexDataset", row: dict[str, Any]) -> list[str]:
    """The beginning of a row as text: a line a chunk, with what is heard in it and the words whose tokens stand in it."""
    chunk_s = float(rows.grid.chunk_s)
    said: dict[int, list[str]] = {}
    for segment in row["segments"]:
        for word in segment["words"]:
            said.setdefault(word["chunk"], []).append(word["word"])
    heard: dict[int, list[str]] = {}
    for word in rows.words(row["session_id"], row["listener"]):
        heard.setdefault(int(word["start"] / chunk_s) - row["start_chunk"], []).append(word["word"])
    lines = [f"  {'time':>7}   {'heard':<24} said"]
    for chunk in range(min(row["n_chunks"], _CHUNKS_SHOWN)):
        words = " ".join(heard.get(chunk, []))
        lines.append(f"  {chunk * chunk_s:5.2f} s   {words or '·':<24} {' '.join(said.get(chunk, [])) or '·'}")
    return lines

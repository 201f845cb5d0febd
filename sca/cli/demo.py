"""`sca demo`: the main job on a conversation that ships with sca: build, verify, show."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.console import emit_json, out
from sca.cli.options import Json
from sca.cli.verify import show_verification
from sca.errors import OutputError, VerificationError, writing

if TYPE_CHECKING:
    from sca.data.duplex.load import DuplexDataset
    from sca.data.duplex.verify import Verification

__all__ = ["demo"]

_CHUNKS_SHOWN = 24


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to make it.")] = Path(
        "dataset/demo"
    ),
    json: Json = False,
) -> None:
    """Build, prove and show a data set from a one-minute conversation that ships with sca. No network, no GPU."""
    from sca.config import load_settings
    from sca.data.duplex.build import build_duplex
    from sca.data.duplex.load import load
    from sca.data.duplex.verify import verify
    from sca.resources import demo_corpus

    settings = load_settings(overrides={"duplex.model_path": "builtin:qwen"})
    corpus = output / "corpus"
    if output.exists() and not corpus.exists() and any(output.iterdir()):
        raise OutputError(f"{output} has other files in it", hint="give an empty folder with --output")
    with demo_corpus() as shipped, writing(output):
        shutil.copytree(shipped, corpus, dirs_exist_ok=True)
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
        f"[bold]A row[/]: {row['row_id']}, {row['n_chunks']} chunks of 0.32 s, {len(row['input_ids'])} tokens",
        highlight=False,
    )
    console.print("each line is a chunk: its time, how loud the other one is, what this side says in it\n")
    for line in _chunk_lines(rows, row):
        console.print(line, markup=False)
    console.print("\n[bold]The proof[/]")
    show_verification(outcome)
    console.print(f"\nThe corpus (two speakers, one file each) is in {corpus}")
    console.print(f"The data set (a datasets.DatasetDict: storage, train) is in {data}")
    console.print("\nTry next:")
    console.print(f"  sca verify {data}", markup=False)
    console.print(
        f"  sca build-duplex {corpus} --output {data.parent / 'session'} --model-path builtin:qwen --window session",
        markup=False,
    )
    console.print("  sca config show", markup=False)


def _chunk_lines(rows: "DuplexDataset", row: dict[str, Any]) -> list[str]:
    """The stretch of a row with the most going on, as text."""
    import numpy as np

    audio = rows[0]
    levels = np.sqrt(np.mean(np.square(audio.heard), axis=1))
    words: dict[int, list[str]] = {}
    for segment in row["segments"]:
        for word in segment["words"]:
            words.setdefault(word["chunk"], []).append(word["word"])
    first = max(0, min(words, default=0) - 2)
    lines = []
    for chunk in range(first, min(row["n_chunks"], first + _CHUNKS_SHOWN)):
        meter = "▁▂▃▄▅▆▇█"[min(7, int(levels[chunk] * 60))]
        said = " ".join(words.get(chunk, [])) or "·"
        lines.append(f"  {chunk * float(rows.grid.chunk_s):6.2f} s  {meter}  {said}")
    return lines

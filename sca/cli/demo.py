"""`sca demo`: build, verify and show a data set from the conversation included with sca."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, out, print_line, print_note
from sca.cli.shared.options import Json
from sca.cli.shared.settings_options import settings_options
from sca.cli.shared.verification import show_verification
from sca.errors import VerificationError
from sca.textutil import command_line, counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from sca.config import Settings
    from sca.data.duplex.load.dataset import DuplexDataset
    from sca.data.duplex.model.records import RowRecord
    from sca.data.duplex.verify.check_table import Verification
    from sca.tokenizer import TextTokenizer
    from sca.train.replay import Replay

__all__ = ["demo"]

_CHUNKS_SHOWN = 28


@settings_options()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the demo to.")] = Path(
        "dataset/demo"
    ),
    *,
    settings: "Settings",
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Train a tiny model on the rows too, and show what it says while it hears them: minutes on a CPU. "
            "An interrupted training continues.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Build, verify and show a data set from the one-minute conversation included with sca.

    Needs no network and no GPU. --train needs the extra train.
    """
    from sca.data.demo import CORPUS, DATA, make_demo
    from sca.data.duplex.load.dataset import load
    from sca.data.duplex.verify.dataset import verify

    if not settings.origin("duplex.model_path").startswith("command line"):  # a model elsewhere may need a network
        duplex = settings.duplex.model_copy(update={"model_path": "builtin:qwen"})
        settings = settings.model_copy(update={"duplex": duplex})
    if train:
        _check_train()
    corpus, data = output / CORPUS, output / DATA
    summary = make_demo(output, settings)
    verification = verify(data, cache_dir=settings.paths.resolved_cache_dir)
    report = summary.details.report.model_dump(mode="json")
    document: dict[str, object] = {
        "corpus": str(corpus),
        "data": str(data),
        "holds": verification.holds,
        "report": report,
    }
    if not json:
        _show(corpus, data, load(data), verification)
    if train and verification.holds:
        document["trained"] = _train(output, data, settings, print_note if json else print_line)
    if json:
        emit_json(document)
    if not verification.holds:
        raise VerificationError(f"the demo data set is broken: {verification.problems[0]}")


def _check_train() -> None:
    """Check the extra before anything is written."""
    from sca.infer.engines.qwen_omni.loading.requirements import check_installed

    check_installed("torch", "transformers", "accelerate", "peft", needed_by="sca demo --train", extra="train")


def _train(output: Path, data: Path, settings: "Settings", write: "Callable[[str], None]") -> dict[str, object]:
    """Train the tiny model, write what it says, and return the numbers for programs."""
    from sca.cli.train.output import LogLines
    from sca.data.duplex.model.row_names import typed_row_id
    from sca.train.demo import train_demo

    def show(one: "Replay", tokenizer: "TextTokenizer") -> None:
        silent, of = one.silent
        write(
            f"{typed_row_id(one.row_id)}: {one.equal} of {counted(len(one.wanted), 'chunk')} as in the row, silent in {silent} of "
            f"the {of} where the row is silent"
        )
        write(f"  row:   {one.text(one.wanted, tokenizer)}")
        write(f"  model: {one.text(one.said, tokenizer)}")

    trained = train_demo(output, data, settings, listener=LogLines(), on_row=show)
    write(
        f"{counted(trained.summary.steps, 'step')} in {trained.summary.train_s:.0f} s; the model says the tokens of the row in "
        f"{trained.equal} of {counted(trained.chunks, 'chunk')}"
    )
    write(f"loss curves: {trained.summary.output / 'report.html'}")
    model, adapter = f"qwen.model_id={trained.model}", f"qwen.adapter={trained.summary.last}"
    write(f"talk to it:  {command_line('live', '--mic', '--engine', 'qwen-omni', '--set', model, '--set', adapter)}")
    return {
        "model": str(trained.model),
        "adapter": str(trained.summary.last),
        "steps": trained.summary.steps,
        "train_s": trained.summary.train_s,
        "chunks": trained.chunks,
        "equal_chunks": trained.equal,
        "silent_chunks": [sum(one.silent[at] for one in trained.replays) for at in (0, 1)],
    }


def _show(corpus: Path, data: Path, rows: "DuplexDataset", verification: "Verification") -> None:
    from rich.text import Text

    from sca.data.duplex.model.row_names import typed_row_id

    console = out()
    row = rows.record(0)
    facts = f"{counted(row['n_chunks'], 'chunk')} of 0.32 s, {counted(len(row['input_ids']), 'token')}"
    console.print(Text.assemble(("A row", "bold"), f": {typed_row_id(row['row_id'])}, {facts}"))
    console.print("one line per chunk; the tokens of a spoken word are one chunk before its audio")
    console.print()
    for line in _chunk_lines(rows, row):
        console.print(line)
    console.print(Text("\nThe checks", style="bold"))
    show_verification(verification)
    console.print()
    console.print(f"The corpus (two speakers, one file each) is in {corpus}")
    console.print(f"The data set (a datasets.DatasetDict: storage, train) is in {data}")
    console.print()
    console.print("Try next:")
    session = data.parent / "session"
    for words in (
        ("verify", data),
        ("build-duplex", corpus, "--output", session, "--window", "session"),
        ("config", "show"),
    ):
        console.print(f"  {command_line(*words)}")


def _chunk_lines(rows: "DuplexDataset", row: "RowRecord") -> list[str]:
    """Format the beginning of a row: one line per chunk, with the heard words and the spoken words placed in it."""
    chunk_s = float(rows.grid.chunk_s)
    spoken: dict[int, list[str]] = {}
    for segment in row["segments"]:
        for word in segment["words"]:
            spoken.setdefault(word["chunk"], []).append(word["word"])
    heard: dict[int, list[str]] = {}
    for heard_word in rows.words(row["session_id"], row["listener"]):
        heard.setdefault(int(heard_word["start"] / chunk_s) - row["start_chunk"], []).append(heard_word["word"])
    lines = [f"  {'time':>7}   {'heard':<24} spoken"]
    for chunk in range(min(row["n_chunks"], _CHUNKS_SHOWN)):
        words = " ".join(heard.get(chunk, []))
        lines.append(f"  {chunk * chunk_s:5.2f} s   {words or '·':<24} {' '.join(spoken.get(chunk, [])) or '·'}")
    return lines

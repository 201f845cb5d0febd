"""The commands of the matrix, with small inputs."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["COMMANDS", "Command"]


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: Its row.
        words: The command line after `sca`, relative to a folder with the inputs in `in`; it writes to `out`.
        prepare: Fills the folder `in`, in a fork.
        change: Changes the content of inputs, in a fork; None if the command reads none.
        again: Words to add when the command is run again after a fault.
        over: Words that replace results of other inputs, where the command does not without being told.
        named: Files that the command line names: what is there is replaced, as the person asked.
        normal: Hides from a file what may differ after a run that was continued.
        served: Whether `in` is served over HTTP; `{url}` in the words is its address.
        patch: Called in the process of the command first.
    """

    name: str
    words: Sequence[str]
    prepare: Callable[[Path], None]
    change: Callable[[Path], None] | None = None
    again: Sequence[str] = ()
    over: Sequence[str] = ()
    named: frozenset[str] = frozenset()
    normal: Callable[[str, bytes], bytes] = lambda name, content: content
    served: bool = False
    patch: Callable[[], None] = lambda: None


SECONDS = 12.0


def _recordings(folder: Path, extension: str = "wav") -> None:
    """Write two short recordings."""
    import soundfile as sf

    from sca.resources import demo_corpus

    with demo_corpus() as root:
        for number, path in enumerate(sorted((root / "WAV").iterdir())):
            samples, rate = sf.read(path, dtype="int16")
            sf.write(folder / f"talk{number}.{extension}", samples[: int(SECONDS * rate)], rate)


def _quieter(folder: Path) -> None:
    """Halve the sound of all recordings below a folder."""
    import soundfile as sf

    for path in sorted((*folder.rglob("*.wav"), *folder.rglob("*.flac"))):
        samples, rate = sf.read(path, dtype="int16")
        sf.write(path, samples // 2, rate)


def _corpus(folder: Path) -> None:
    from tests.helpers.corpus import short_demo

    short_demo(folder / "corpus", SECONDS)


def _duplex(folder: Path) -> None:
    from sca.data.duplex.build.dataset import build_duplex
    from tests.helpers.corpus import settings, short_demo

    with_corpus = folder.with_name("made")
    build_duplex(short_demo(with_corpus, SECONDS), folder / "data", settings(), jobs=1)
    shutil.rmtree(with_corpus)


def _shows(folder: Path) -> None:
    from tests.helpers.show_lines import event, line

    _recordings(folder, "flac")
    lines = [line(f"talk{n}", event(1.0, 5.0, "Good evening"), event(6.0, 11.0, "So I said")) for n in range(2)]
    (folder / "all.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "talk0.info.json").write_text(json.dumps({"id": "talk0", "title": "A talk"}))


def _whisper(folder: Path) -> None:
    from tests.helpers.tiny_whisper import scripted_whisper

    _recordings(folder)
    made = scripted_whisper(folder.with_name("whisper"))
    shutil.move(made, folder / "model")
    shutil.rmtree(folder.with_name("whisper"))


def _voices(folder: Path) -> None:
    """Write one recording of two speakers, and tiny models."""
    import soundfile as sf

    from tests.helpers.tiny_dvector import write_dvector

    _whisper(folder)
    write_dvector(folder / "dvector.onnx")
    sounds = []
    for path in sorted(folder.glob("talk*.wav")):
        samples, rate = sf.read(path, dtype="int16")
        sounds.append(samples)
        path.unlink()
    sf.write(folder / "talk.wav", sounds[0] + sounds[1], rate)


def _download(folder: Path) -> None:
    for name in ("first", "second"):
        (folder / name).mkdir()
    _recordings(folder)
    for number, name in enumerate(("first", "second")):
        (folder / f"talk{number}.wav").rename(folder / name / "show.wav")


def _as_verified(name: str, content: bytes) -> bytes:
    """Give downloads of an earlier run the status of those of this one; the archive has the order of arrival."""
    if name == "out/archive.txt":
        return b"".join(sorted(content.splitlines(keepends=True)))
    if name != "out/ledger.jsonl":
        return content
    entries = [json.loads(line) for line in content.splitlines()]
    for entry in entries:
        if entry["status"] == "skipped":
            entry["status"] = "verified"
            entry.pop("reason", None)
    return "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()


def _script(folder: Path) -> None:
    turns = [{"speaker": s, "text": t} for s, t in (("A", "hello there"), ("B", "good evening"))]
    for name in ("first", "second"):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(turn)}\n" for turn in turns))


_RECIPE = """
[recipe]
name = "talks"
folder = "out"
[[stage]]
command = "synth"
arguments = ["in/first.jsonl"]
voices = "espeak:en-us,espeak:en-gb"
jobs = 1
output = "{folder}/corpus"
"""


def _recipe(folder: Path) -> None:
    _script(folder)
    (folder / "recipe.toml").write_text(_RECIPE)


def _without_times(name: str, content: bytes) -> bytes:
    """Hide when a stage of a recipe ran, for how long, and how fast it was measured to be."""
    if name != "out/.sca/run.jsonl":
        return content
    entries = [json.loads(line) for line in content.splitlines()]
    kept = [{**entry, "extra": {"exit_code": entry.get("extra", {}).get("exit_code")}} for entry in entries]
    return "".join(f"{json.dumps(entry)}\n" for entry in kept).encode()


def _nothing(folder: Path) -> None:
    pass


_WHISPER = ("--model", "in/model", "--language", "en", "--device", "cpu", "--reactions", "none", "-q", "-j", "1")
_DIARIZE = ("--diarize", "--diarize-model", "in/dvector.onnx")
_DOWNLOAD = ("--sleep-interval", "0", "--retries", "0", "--retry-sleep", "0", "-q", "-j", "1")
_CONVERT = ("--min-speech-duration", "1", "--cut-start", "0", "--cut-end", "0", "--speaker", "none", "-q", "-j", "1")

_SYNTH = ("--voices", "espeak:en-us,espeak:en-gb", "-q", "-j", "1")
_SAY = ("say", "hello there", "--engine", "espeak", "--out", "out/say.wav", "--words", "out/words.json", "-q")


def _export(kind: str) -> Command:
    words = ("export", "in/data", "--to", kind, "-o", "out", "-q", "-j", "1")
    return Command(f"export {kind}", words, _duplex)


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command(
            "transcode",
            ("transcode", "in", "out", "wav", "flac", "-q", "-j", "1"),
            _recordings,
            _quieter,
            over=("--force",),
        ),
        Command(
            "download",
            ("download", "{url}/first/show.wav", "{url}/second/show.wav", "-o", "out", *_DOWNLOAD),
            _download,
            normal=_as_verified,
            served=True,
        ),
        Command(
            "transcribe --diarize",
            ("transcribe", "in/talk.wav", "--save-file", "out/talks.jsonl", *_WHISPER, *_DIARIZE),
            _voices,
            _quieter,
            again=("--retry-failed",),
        ),
        Command(
            "transcribe",
            ("transcribe", "in", "--save-file", "out/talks.jsonl", *_WHISPER),
            _whisper,
            _quieter,
            again=("--retry-failed",),
        ),
        Command(
            "convert",
            ("convert", "-i", "in/all.jsonl", "--audio-dir", "in", "--info-dir", "in", "-o", "out", *_CONVERT),
            _shows,
            _quieter,
        ),
        Command(
            "build-duplex",
            ("build-duplex", "in/corpus", "-o", "out", "--model-path", "builtin:qwen", "-q", "-j", "1"),
            _corpus,
            _quieter,
        ),
        *(_export(kind) for kind in ("parquet", "webdataset", "moshi", "lhotse", "chat")),
        Command("synth", ("synth", "in/first.jsonl", "in/second.jsonl", "-o", "out", *_SYNTH), _script),
        # Faults meet the operations of the run itself: its stage is another process.
        Command("run", ("run", "in/recipe.toml", "-o", "out", "-q"), _recipe, normal=_without_times),
        Command("demo", ("demo", "-o", "out", "--json"), _nothing),
        Command(
            "live --record",
            ("live", "--file", "in/talk0.wav", "--record", "out", "--out", "out.wav", "--engine", "parrot", "-q"),
            _recordings,
            _quieter,
            named=frozenset({"out.wav"}),
        ),
        Command("say", _SAY, _nothing, named=frozenset({"out/say.wav", "out/words.json"})),
    )
}

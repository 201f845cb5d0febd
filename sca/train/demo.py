"""`sca demo --train`: a tiny model learns the rows of the demo by heart, and the live loop replays them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import Settings
from sca.data.demo import CORPUS
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.model.row_names import row_id_of
from sca.data.runs.files import write_json_lines
from sca.data.runs.owner import DEMO, claim, ensure_owned_dir
from sca.infer.engines.qwen_omni.loading.requirements import check_installed
from sca.infer.engines.registry import load_engine
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from sca.train.replay import Replay, replay
from sca.train.run.run import train
from sca.train.run.summary import TrainListener, TrainSummary
from sca.train.tiny import save

if TYPE_CHECKING:
    from sca.tokenizer import TextTokenizer

__all__ = ["MODEL", "RUN", "TrainedDemo", "train_demo", "training_settings"]

MODEL, LESSON, RUN = "model", "lesson", "run"
_WHOLE = "model.safetensors"
_CHOSEN: Mapping[str, object] = {
    "targets": "attention,experts,lm_head",  # attention alone cannot move the output of a random lm_head to a token
    "rank": 16,
    "alpha": 32.0,
    "max_steps": 300,
    "learning_rate": 5e-3,
    "warmup": 5.0,
    "gradient_checkpointing": False,
    "workers": 0,  # of a minute of audio
    "save_every": 100,
    "keep": 1,
    "log_every": 50,
    "eval_every": 0,  # there are no validation rows
}
"""Settings with which a tiny model learns a minute by heart. They do not suit a real model."""


@dataclass(frozen=True, slots=True)
class TrainedDemo:
    """What the model of the demo learned.

    Attributes:
        model: The folder of the tiny model.
        summary: The training run.
        replays: What the model says while it hears each row.
    """

    model: Path
    summary: TrainSummary
    replays: tuple[Replay, ...]

    @property
    def equal(self) -> int:
        """The number of chunks in which the model says exactly the tokens of the row."""
        return sum(one.equal for one in self.replays)

    @property
    def chunks(self) -> int:
        """The number of chunks of all rows."""
        return sum(len(one.wanted) for one in self.replays)


def training_settings(settings: Settings, model: Path) -> Settings:
    """Return settings that train the tiny model on a CPU; those of the command line and of files are kept.

    Args:
        settings: The settings of the command.
        model: The folder of the tiny model.
    """
    chosen = {name: value for name, value in _CHOSEN.items() if settings.origin(f"train.{name}") == "default"}
    qwen = {"model_id": str(model), "device_map": "cpu", "torch_dtype": "float32"}
    return settings.model_copy(
        update={
            "train": settings.train.model_copy(update=chosen),
            "qwen": settings.qwen.model_copy(update=qwen),
        }
    )


def train_demo(
    folder: Path,
    data: Path,
    settings: Settings,
    *,
    listener: TrainListener,
    on_row: Callable[[Replay, TextTokenizer], None],
) -> TrainedDemo:
    """Train a tiny model on the rows of the demo, or continue an interrupted training, and let it hear them live.

    Args:
        folder: The folder of the demo.
        data: Its data set.
        settings: The settings of the demo.
        listener: Receives what the training reports.
        on_row: Receives the result of each row, and the tokenizer for its text.

    Returns:
        What the model says.

    Raises:
        MissingToolError: The extra train is not installed.
        OutputError: A folder has other files in it, or cannot be written.
    """
    check_installed("torch", "transformers", "accelerate", "peft", needed_by="sca train", extra="train")
    model = folder / MODEL
    ensure_owned_dir(model, DEMO)
    if not (model / _WHOLE).is_file():
        claim(model, DEMO)
        save(model, books=3, vocoder_width=16)
    settings = training_settings(settings, model)
    lesson = _lesson(folder, data, settings)
    summary = train(lesson, folder / RUN, settings, resume=True, listener=listener)
    adapted = settings.model_copy(update={"qwen": settings.qwen.model_copy(update={"adapter": str(summary.last)})})
    engine = load_engine("qwen-omni", adapted)
    tokenizer, replays = load_tokenizer(BUILTIN_QWEN), []
    for row in load(lesson):
        replays.append(replay(engine, row, settings.grid, settings.duplex.system_prompt))
        on_row(replays[-1], tokenizer)
    return TrainedDemo(model, summary, tuple(replays))


def _lesson(folder: Path, data: Path, settings: Settings) -> Path:
    """Build a data set of one row, the whole conversation of the speaker who answers, and return its folder.

    Nothing is heard before the first word of the other speaker, so a model cannot know from the sound to begin. Of two
    rows, the random audio tower of the tiny model would have to tell the beginnings apart.
    """
    rows = load(data)
    records = [rows.record(index) for index in range(len(rows))]
    begins = min((r for r in records if r["segments"]), key=lambda r: (r["start_chunk"], r["segments"][0]["start_s"]))
    drops = folder / "drops.jsonl"
    whole = row_id_of(begins["session_id"], begins["listener"], begins["speaker"], 0)
    write_json_lines(drops, [{"row_id": whole, "mark": "drop"}])
    duplex = settings.duplex.model_copy(update={"window": "session", "drops": drops, "model_path": BUILTIN_QWEN})
    lesson = folder / LESSON
    build_duplex(folder / CORPUS, lesson, settings.model_copy(update={"duplex": duplex}))
    return lesson

"""What `sca train` prints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sca.cli.shared.console import print_line, print_note
from sca.textutil import command_line, counted

if TYPE_CHECKING:
    from sca.train.run.summary import TrainSummary

__all__ = ["LogLines", "document", "show"]


class LogLines:
    """Prints what a run reports, one line each, on stderr."""

    def on_note(self, text: str) -> None:
        """Print a line about the start of the run."""
        print_note(f"sca: {text}")

    def on_log(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """Print a line of the log."""
        evaluation = {name.removeprefix("eval/"): value for name, value in values.items() if name.startswith("eval/")}
        if evaluation:
            from sca.train.evaluation.evaluate import headline

            shown = f"evaluation: {headline(evaluation)}"
        else:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if not name.startswith("share_"))
        print_note(f"step {step} of {steps}: {shown}")


def document(summary: "TrainSummary") -> dict[str, object]:
    """Return the result for programs."""
    return {
        "output": str(summary.output),
        "method": summary.method,
        "last": str(summary.last),
        "best": None if summary.best is None else str(summary.best),
        "steps": summary.steps,
        "made": summary.made,
        "resumed_from": summary.resumed_from,
        "epochs": round(summary.epochs, 4),
        "rows": summary.rows,
        "validation_rows": summary.validation_rows,
        "trainable": summary.trainable,
        "first_loss": None if summary.loss is None else summary.loss[0],
        "last_loss": None if summary.loss is None else summary.loss[1],
        "train_s": summary.train_s,
    }


def show(summary: "TrainSummary", url: str | None) -> None:
    """Print the result for people; `url` is where it was uploaded."""
    from sca.train.run.record import CONFIG_FILE

    rows = counted(summary.rows, "row")
    loss = "" if summary.loss is None else f", loss {summary.loss[0]:.4g} → {summary.loss[1]:.4g}"
    print_line(
        f"{counted(summary.steps, 'step')} ({summary.made} made now) over {rows} in "
        f"{summary.train_s:.0f} s{loss}, {counted(summary.trainable, 'weight')} trained"
    )
    weights = summary.best or summary.last
    # The file names the model, and has the prompt and the grid of the rows, without which the weights are refused.
    config = str(weights / CONFIG_FILE)
    setting = f"qwen.{'adapter' if summary.method == 'lora' else 'model_id'}={weights}"
    live = command_line("live", "--mic", "--engine", "qwen-omni", "--config", config, "--set", setting)
    print_line(f"talk to it:  {live}")
    if url is not None:
        print_line(f"uploaded to {url}")

"""`sca turn ask`: query the model about the end of an audio file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json
from sca.cli.shared.options import Json
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.options import Url, auth_key

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["ask"]


@settings_options("turn.model_id", "turn.device", "turn.threshold", "turn.auth_key", turn_env=True)
def ask(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Audio file of any format; the end of it is used.")],
    *,
    url: Url = None,
    settings: "Settings",
    as_json: Json = False,
) -> None:
    """Predict whether the speaker has finished at the end of an audio file.

    The model's window is the last 8 s (v3) or 16 s (v2).

    Queries the server at --url, with its own threshold unless --threshold is given. Without --url the model runs in
    this process.
    """
    from sca.infer.turn.client.load_test import last_seconds
    from sca.infer.turn.predictor import open_predictor
    from sca.units import HEARD_HZ

    # A server has its own threshold, which only the option replaces.
    given = settings.origin("turn.threshold") == "command line --threshold"
    with open_predictor(settings.turn, url, auth_key(settings)) as predictor:
        samples = last_seconds(file, predictor.window_samples() / HEARD_HZ)
        prediction = predictor.predict(samples, settings.turn.threshold if given else None)
    if as_json:
        seconds = len(samples) / HEARD_HZ
        emit_json({"file": str(file), "seconds": seconds, **prediction.document(), "judge": predictor.name})
    else:
        word = "finished" if prediction.finished else "not finished"
        sys.stdout.write(f"{word}: probability {prediction.probability:.3f}\n")

"""`sca turn ask`: query the model about the end of an audio file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, print_line
from sca.cli.shared.options import Json
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.options import EnvFile, SampleSeconds, Url, server_in

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["ask"]


@settings_options("turn.model_id", "turn.device", "turn.threshold", "turn.auth_key", plain_env="turn")
def ask(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Audio file of any format; the end of it is used.")],
    *,
    sample_seconds: SampleSeconds = None,
    url: Url = None,
    env_file: EnvFile = None,
    settings: "Settings",
    as_json: Json = False,
) -> None:
    """Predict whether the speaker has finished at the end of an audio file.

    The model's window is the last 8 s (v3) or 16 s (v2).

    Queries the server at --url or in --env-file, with its own threshold unless --threshold is given. Without a server
    the model runs in this process.
    """
    from sca.infer.turn.client.load_test import padded_end
    from sca.infer.turn.predictor import open_predictor
    from sca.units import HEARD_HZ

    # A server has its own threshold, which only the option replaces.
    given = settings.origin("turn.threshold") == "command line --threshold"
    url, key = server_in(env_file, settings, url)
    with open_predictor(settings.turn, url, key) as predictor:
        samples = padded_end(file, sample_seconds, predictor.window_samples() / HEARD_HZ)
        prediction = predictor.predict(samples, settings.turn.threshold if given else None)
    if as_json:
        seconds = len(samples) / HEARD_HZ
        emit_json({"file": str(file), "seconds": seconds, **prediction.document(), "judge": predictor.name})
    else:
        word = "finished" if prediction.finished else "not finished"
        without = "; no speech was heard" if prediction.speech is False else ""
        print_line(f"{word}: probability {prediction.probability:.3f}{without}")

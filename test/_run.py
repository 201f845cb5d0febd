"""What the commands of this folder share: their options, and the command of `sca turn` that each of them is.

The options are those of the earlier turn server: `--seconds` is the length of the audio, a sample is looked up in the
working folder and in `samples/`, and `.env` of the working folder or the project has the server and its key.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from _cli import ROOT, run

LOCAL = "http://127.0.0.1:8000"


def main(command, description, defaults=(), sample_argument=False):
    """Run a command of `sca turn`.

    Args:
        command: `warmup`, `bench` or `ask`.
        description: For `--help`.
        defaults: Options of `sca turn` and their values if they are not given.
        sample_argument: Whether the sample is an argument of the command instead of an option.
    """
    parser = argparse.ArgumentParser(description=description, epilog="Other options are those of `sca turn`.")
    parser.add_argument("--sample", help="an audio file, also of samples/")
    parser.add_argument("--seconds", help="the length of the audio: its end, or silence before it")
    parser.add_argument("--key", help="the key of the server")
    if command == "bench":
        parser.add_argument("--duration", help="end after this many seconds")
    given, others = parser.parse_known_args()
    sample = given.sample or ("mid.wav" if sample_argument else None)
    arguments = []
    if sample is not None:
        path = next((path for path in (Path(sample), ROOT / "samples" / sample) if path.exists()), None)
        if path is None:
            parser.error(f"neither {sample} nor samples/{sample} exists; bash scripts/setup.sh writes samples/mid.wav")
        arguments = [str(path)] if sample_argument else ["--sample", str(path)]
    names = {"--sample-seconds": given.seconds, "--auth-key": given.key, "--seconds": getattr(given, "duration", None)}
    for name, value in {**dict(defaults), **names}.items():
        arguments += [] if value is None or name in others else [name, value]
    files = [folder / ".env" for folder in (Path(), ROOT) if (folder / ".env").is_file()]
    if not any(other.partition("=")[0] in ("--url", "--env-file") for other in others):
        if files:
            arguments += ["--env-file", str(files[0])]
        elif command == "ask":  # which would run the model itself
            arguments += ["--url", LOCAL]
    run("turn", command, arguments=[*arguments, *others])

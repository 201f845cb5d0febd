"""Write tests/golden/duplex-schema5.tar.xz: a small corpus, and the data set that the first version of schema 5 built.

    python scripts/make_old_duplex.py

It takes the code of that commit from the repository, so it needs the repository's history. Tests read the data set with
the code of today. Run the script again only for another schema version; the archive is never written anew to make a test
pass.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "tests" / "golden" / "duplex-schema5.tar.xz"
COMMIT = "d54e49e"
SECONDS, RATE_HZ = 4.5, 16_000
LINES = {
    "G0001": [(0.5, 1.1, "hello there"), (2.4, 2.8, "no")],
    "G0002": [(1.4, 2.1, "are you here"), (3.2, 3.6, "good")],
}


def write_corpus(folder: Path) -> None:
    """Write two tracks of tones with their lines, in MagicHub's layout."""
    for kind in ("WAV", "TXT"):
        (folder / kind).mkdir(parents=True)
    t = np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ
    for number, (speaker, lines) in enumerate(LINES.items()):
        speaks = np.any([(t >= start) & (t < end) for start, end, _ in lines], axis=0)
        tone = 0.1 * np.sin(2 * np.pi * (150 + 40 * number) * t) * speaks
        name = f"A0001_S0001_0_{speaker}"
        soundfile.write(folder / "WAV" / f"{name}.wav", tone, RATE_HZ, subtype="PCM_16")
        text = "".join(f"[{start},{end}]\t{speaker}\tmale,none\t{words}\n" for start, end, words in lines)
        (folder / "TXT" / f"{name}.txt").write_text(text, encoding="utf-8")


def main() -> None:
    # The record of a session has paths and times of its recordings, so they are the same in every run.
    folder = Path(tempfile.gettempdir()) / "sca-old-duplex"
    folder.mkdir()  # an error if another run uses it
    try:
        code = subprocess.run(["git", "archive", COMMIT, "sca"], cwd=ROOT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(code)) as archive:
            archive.extractall(folder / "code", filter="data")
        write_corpus(folder / "old" / "corpus")
        for path in (folder / "old" / "corpus").rglob("*.*"):
            os.utime(path, (0, 0))
        options = ["--output", folder / "old" / "data", "--set", "duplex.model_path=builtin:qwen", "--quiet"]
        command = [sys.executable, "-m", "sca", "build-duplex", folder / "old" / "corpus", *options]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(folder / "code")}, cwd=folder)
        with tarfile.open(TARGET, "w:xz", preset=9) as packed:
            for path in sorted((folder / "old").rglob("*")):
                if path.is_file() and path.name != ".lock":
                    member = tarfile.TarInfo(str(path.relative_to(folder / "old")))
                    member.size = path.stat().st_size
                    with path.open("rb") as file:
                        packed.addfile(member, file)
    finally:
        shutil.rmtree(folder)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()

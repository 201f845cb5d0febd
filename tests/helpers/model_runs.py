"""Small models to fetch, and processes that fetch them."""

import hashlib
import subprocess
import sys

from sca.models.catalog import Model

SCRIPT = """
import sys
from pathlib import Path
from sca.errors import ScaError
from sca.models.catalog import Model
from sca.models.fetch import fetch
model = Model.model_validate_json(Path(sys.argv[1]).read_text())
try:
    got = fetch(model, Path(sys.argv[2]), waiting=lambda: print("waiting", flush=True))
    print("fetched" if got else "present", flush=True)
except ScaError as error:
    print(type(error).__name__, error.message, flush=True)
"""


def entry(path, content, *sources):
    """Return a file of a catalogue."""
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path, "bytes": len(content), "sha256": digest, "from": list(sources)}


def model_of(archives, files, **fields):
    about = {"name": "tiny", "job": "asr", "title": "A test", "licence": "MIT", "origin": "a test"}
    return Model.model_validate(about | {"archives": archives, "files": files} | fields)


def start(model, cache, tmp_path, before=""):
    """Start a process that fetches a model.

    Args:
        model: The model.
        cache: The cache folder.
        tmp_path: A folder for the model as JSON.
        before: Code that runs first.
    """
    path = tmp_path / "model.json"
    path.write_text(model.model_dump_json(by_alias=True))
    command = [sys.executable, "-c", before + SCRIPT, str(path), str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def nothing_there(cache):
    """No folder of a model is visible; hidden folders hold what a second run continues."""
    return not [path for path in (cache / "models").iterdir() if not path.name.startswith(".")]

"""What `sca doctor` looks at: one function a check, each quick, none that raises for what it finds missing.

Heavy packages are looked up, not imported; what may hang (an audio server, a hub) is asked with a time limit.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from sca.textutil import counted

__all__ = ["CHECKS", "Check", "Status"]

_ANSWER_S = 4.0
_YTDLP_OLD_DAYS = 90
_DENO_MIN, _NODE_MIN = (2, 3, 0), (22, 0, 0)
_UPGRADE = "uv lock --upgrade-package yt-dlp --upgrade-package yt-dlp-ejs && uv sync --inexact"


class Status(StrEnum):
    """ok; warn: some of what sca does is worse or not there; missing: a core command cannot run."""

    ok = "ok"
    warn = "warn"
    missing = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table. found: what is there.   fix: the command or the sentence that mends it."""

    name: str
    status: Status
    found: str
    fix: str | None = None


def python() -> Check:
    """The interpreter."""
    found = f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})"
    ok = sys.version_info >= (3, 11)
    return Check("python", Status.ok if ok else Status.missing, found, None if ok else "uv python install 3.12")


def core() -> Check:
    """The packages that `pip install sca` brings."""
    wanted = [name for name, extra in _requirements() if extra is None]
    gone = [name for name in wanted if _version(name) is None]
    if gone:
        return Check("packages", Status.missing, f"missing: {', '.join(gone)}", "uv sync --inexact")
    if not wanted:
        return Check(
            "packages", Status.warn, "sca itself is not installed, so its needs are not known", "uv sync --inexact"
        )
    return Check("packages", Status.ok, f"all {len(wanted)}; PyAV {_version('av')}, soundfile {_version('soundfile')}")


def ffmpeg() -> Check:
    """The ffmpeg that transcoding uses."""
    from sca.data.media.ffmpeg import INSTALL, find_ffmpeg
    from sca.errors import MissingToolError

    try:
        program = find_ffmpeg()
    except (MissingToolError, ImportError) as error:
        return Check("ffmpeg", Status.missing, str(error), INSTALL)
    better = "" if program.soxr else ", without soxr: resamples less well"
    return Check("ffmpeg", Status.ok, f"{program.version}, {program.origin}{better} ({program.path})")


def ffprobe() -> Check:
    """Nice to have: nothing of sca needs it."""
    path = shutil.which("ffprobe")
    return Check("ffprobe", Status.ok, path if path else "none (optional: sca does without)")


def ytdlp(today: date | None = None) -> Check:
    """yt-dlp and its age: sites change, and an old one stops working."""
    version = _constant("yt_dlp", "version.py", "__version__")
    if version is None:
        return Check("yt-dlp", Status.missing, "not installed: no search, no download", "uv sync --inexact")
    parts = [int(part) for part in version.split(".")[:3] if part.isdigit()]
    try:
        age = ((today or datetime.now(UTC).date()) - date(*parts)).days
    except (TypeError, ValueError):
        return Check("yt-dlp", Status.warn, f"{version}, which tells no date", _UPGRADE)
    if age > _YTDLP_OLD_DAYS:
        return Check("yt-dlp", Status.warn, f"{version}, {counted(age, 'day')} old", _UPGRADE)
    return Check("yt-dlp", Status.ok, f"{version}, {counted(max(age, 0), 'day')} old")


def ytdlp_ejs() -> Check:
    """The scripts that solve YouTube's challenges; yt-dlp takes one version of them only."""
    found = _version("yt-dlp-ejs")
    wanted = _constant("yt_dlp", "extractor/youtube/jsc/_builtin/vendor/_info.py", "VERSION")
    if found is None:
        return Check("yt-dlp-ejs", Status.warn, "not installed: some formats will be missing", "uv sync --inexact")
    if wanted is not None and found != wanted:
        fix = f"uv pip install yt-dlp-ejs=={wanted}"
        return Check("yt-dlp-ejs", Status.warn, f"{found}, but yt-dlp wants {wanted} and will not use it", fix)
    return Check("yt-dlp-ejs", Status.ok, f"{found}, what yt-dlp wants" if wanted else found)


def js_runtime() -> Check:
    """What runs those scripts: deno, of this environment or on the PATH, or node."""
    scripts = sysconfig.get_path("scripts")
    too_old = []
    for name, least in (("deno", _DENO_MIN), ("node", _NODE_MIN)):
        path = shutil.which(name, path=scripts) or shutil.which(name)
        version = _numbers(_answer([path, "--version"])) if path else None
        if path and version:
            found = f"{name} {'.'.join(map(str, version))}"
            if version >= least:
                return Check("js runtime", Status.ok, f"{found} ({path})")
            too_old.append(f"{found} is older than {'.'.join(map(str, least))}")
    found = "; ".join(too_old) or "none"
    return Check(
        "js runtime", Status.warn, f"{found}: some YouTube formats will be missing", "uv pip install 'deno>=2.3'"
    )


def torch() -> Check:
    """Whether torch is there and what it was built for."""
    version = _version("torch")
    if version is None:
        return Check("torch", Status.warn, "not installed: no local models", "uv sync --inexact --extra live")
    cuda = _constant("torch", "version.py", "cuda")
    return Check("torch", Status.ok, f"{version}, built for {'CUDA ' + cuda if cuda else 'the CPU'}")


def gpu() -> Check:
    """The graphics card, asked without loading torch."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    lines = [line.strip() for line in _answer(query).splitlines() if line.count(",") == 2]
    if not lines:
        return Check("gpu", Status.warn, "no NVIDIA GPU: `sca live` runs the parrot engine, transcription is slow")
    found = "; ".join(lines)
    if _version("torch") is not None and _constant("torch", "version.py", "cuda") is None:
        fix = "uv pip install --torch-backend=auto --reinstall torch"
        return Check("gpu", Status.warn, f"{found}, but torch is built for the CPU", fix)
    return Check("gpu", Status.ok, found)


def extras() -> list[Check]:
    """Each optional extra and which of its packages are missing."""
    by_extra: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra is not None:
            by_extra.setdefault(extra, []).append(name)
    checks = []
    for extra, names in by_extra.items():
        gone = [name for name in names if _version(name) is None]
        found = f"missing: {', '.join(gone)}" if gone else f"all of {', '.join(names)}"
        fix = f"uv sync --inexact --extra {extra}   (or: pip install 'sca[{extra}]')"
        checks.append(Check(f"extra {extra}", Status.warn if gone else Status.ok, found, fix if gone else None))
    return checks


# miniaudio falls back to a backend that plays nothing and hears silence; naming the real ones keeps it honest.
_MICROPHONE = """
import miniaudio
B = miniaudio.Backend
real = [B.WASAPI, B.COREAUDIO, B.PULSEAUDIO, B.ALSA]
try:
    found = miniaudio.Devices(real)
    print("backend", found.backend, len(found.get_captures()), len(found.get_playbacks()))
except miniaudio.MiniaudioError as error:
    print("none", error)
"""


def microphone() -> Check:
    """The sound system that a live conversation would use."""
    fix = "start an audio server (PipeWire or PulseAudio) with a microphone"
    if find_spec("miniaudio") is None:
        return Check("microphone", Status.warn, "miniaudio is not installed", "uv sync --inexact")
    words = _answer([sys.executable, "-c", _MICROPHONE]).split()
    if len(words) < 4 or words[0] != "backend":
        why = "only miniaudio's Null backend, which hears silence"
        return Check("microphone", Status.warn, f"no sound system: {why}", fix)
    heard, spoken = int(words[-2]), int(words[-1])
    found = f"{' '.join(words[1:-2])}: {heard} to hear with, {spoken} to speak with"
    enough = heard > 0 and spoken > 0
    return Check("microphone", Status.ok if enough else Status.warn, found, None if enough else fix)


def _answer(command: Sequence[str]) -> str:
    """What a program prints, or nothing when it is not there, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _numbers(text: str) -> tuple[int, ...] | None:
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> Iterator[tuple[str, str | None]]:
    """Packages sca asks for, each with the extra that asks."""
    try:
        lines = metadata.requires("sca") or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name:
            yield name[0], extra[1] if extra else None


def _constant(package: str, file: str, name: str) -> str | None:
    """A text constant of a package's file, read without importing the package."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / file
        if path.is_file():
            found = re.search(
                rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", path.read_text(encoding="utf-8"), re.MULTILINE
            )
            return found[1] if found else None
    return None


CHECKS = (python, core, ffmpeg, ffprobe, ytdlp, ytdlp_ejs, js_runtime, torch, gpu, extras, microphone)
"""All of the above, in the order of the table."""

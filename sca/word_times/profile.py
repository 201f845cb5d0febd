"""Profiles: the measured correction of the word times of one model, in a JSON file.

A profile belongs to the weights of a model, which its SHA-256 names, and to one use of them. `sca calibrate` writes it
to the cache folder; those of the models in `sca.models` ship with sca.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import InputError
from sca.textutil import command_line
from sca.word_times.correction import Correction
from sca.word_times.weights import Weights, weights_of

__all__ = [
    "MAX_LETTER_S",
    "MAX_SHIFT_S",
    "Measured",
    "Profile",
    "Use",
    "cached_path",
    "find_profile",
    "identity",
    "read_profile",
]

Use = Literal["transcribe", "whisper", "ctc"]
"""What a model does: `sca transcribe`, or `--align whisper` and `--align ctc` of `sca build-duplex`."""
MAX_SHIFT_S = 1.0
"""The largest shift. A model whose words are farther off has no constant error."""
MAX_LETTER_S = 0.1
"""The largest weight of a letter."""
_SHIPPED = "word_times"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Measured(_Strict):
    """Errors of word starts and ends in seconds, and of words, for one sound or for all."""

    noise: str
    audio_s: float = Field(ge=0)
    words: int = Field(ge=0)
    matched: int = Field(ge=0)
    start_bias_s: float | None
    start_mean_abs_s: float | None
    start_p95_s: float | None
    end_bias_s: float | None
    end_mean_abs_s: float | None
    lost: int = Field(ge=0)
    unsure: int = Field(ge=0)
    invented: int = Field(ge=0)
    invented_sure: int = Field(ge=0)
    wer: float | None


class Profile(_Strict):
    """The content of a profile.

    Attributes:
        version: The version of the format.
        model: The name of the model, as it was given.
        weights_sha256: The SHA-256 of the file of its weights.
        weights_bytes: The size of that file.
        use: What the model was used for.
        start_s: See `Correction`.
        end_s: See `Correction`.
        onset_s: See `Correction`.
        at_onsets: See `Correction`.
        early_weight: See `Correction`.
        before_letter_s: See `Correction`. 0 in profiles of earlier versions, like the next two.
        letter_s: See `Correction`.
        length_share: See `Correction`.
        made_with: How it was measured: voices, seed, minutes, version of sca.
        before: The errors without the correction, for all sounds and for each.
        after: The same with a correction that was fitted to the other half of the conversations.
    """

    version: Literal[1] = 1
    model: str
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    weights_bytes: int = Field(ge=0)
    use: Use
    start_s: float = Field(ge=-MAX_SHIFT_S, le=MAX_SHIFT_S)
    end_s: float = Field(ge=-MAX_SHIFT_S, le=MAX_SHIFT_S)
    onset_s: float = Field(ge=-MAX_SHIFT_S, le=MAX_SHIFT_S)
    at_onsets: bool
    early_weight: float = Field(gt=0, le=1)
    before_letter_s: float = Field(0.0, ge=-MAX_LETTER_S, le=MAX_LETTER_S)
    letter_s: float = Field(0.0, ge=-MAX_LETTER_S, le=MAX_LETTER_S)
    length_share: float = Field(0.0, ge=-1, le=1)
    made_with: dict[str, str | int | float]
    before: tuple[Measured, ...] = ()
    after: tuple[Measured, ...] = ()

    @property
    def correction(self) -> Correction:
        """The correction."""
        lengths = (self.before_letter_s, self.letter_s, self.length_share)
        return Correction(self.start_s, self.end_s, self.onset_s, self.at_onsets, self.early_weight, *lengths)

    @property
    def name(self) -> str:
        """The name in reports: the model and the first letters of the hash of its weights."""
        return f"{Path(self.model).name}-{self.weights_sha256[:8]}"

    def __str__(self) -> str:
        if self.correction == Correction(at_onsets=False, early_weight=self.early_weight):
            return f"word times not corrected (profile {self.name})"
        onsets = ", starts after pauses at the onset of speech" if self.at_onsets else ""
        lengths = ", by the lengths of words" if self.length_share or self.letter_s or self.before_letter_s else ""
        return f"word times corrected by {self.start_s:+.2f} s{lengths}{onsets} (profile {self.name})"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The weights and the use that a profile must have."""

    weights: Weights
    use: Use

    @property
    def file_name(self) -> str:
        return f"{self.use}-{self.weights.sha256[:16]}.json"


def cached_path(weights: Weights, use: Use, cache_dir: Path) -> Path:
    """Return where the profile of a model is in the cache folder."""
    return cache_dir / "calibration" / _Wanted(weights, use).file_name


def find_profile(choice: str, model: str, use: Use, cache_dir: Path) -> Profile | None:
    """Return the profile for a model.

    Args:
        choice: `auto` for the one in the cache folder, or else the one that ships with sca; `none`; or a file.
        model: A model of `sca.models`, a folder, a size or a hub id.
        use: What the model is used for.
        cache_dir: The cache folder.

    Returns:
        The profile; None for `none`, and with `auto` if there is none for exactly these weights and this use.

    Raises:
        InputError: The file cannot be read, is no profile, or is one of another model or use.
    """
    if choice == "none":
        return None
    weights = weights_of(model, cache_dir)
    if choice == "auto":
        return None if weights is None else _known(_Wanted(weights, use), cache_dir)
    path = Path(choice).expanduser()
    profile = read_profile(path)
    if profile.use != use:
        raise InputError(
            f"the profile {path} was measured for {profile.use}, not for {use}",
            hint=f"measure one: {command_line('calibrate', '--model', model, '--use', use)}",
        )
    if weights is None or profile.weights_sha256 != weights.sha256:
        raise InputError(
            f"the profile {path} is of other weights than {model}: {profile.name}",
            hint=f"measure one: {command_line('calibrate', '--model', model, '--use', use)}",
        )
    return profile


def _known(wanted: _Wanted, cache_dir: Path) -> Profile | None:
    path = cached_path(wanted.weights, wanted.use, cache_dir)
    if path.is_file():
        profile = read_profile(path)
    else:
        shipped = files("sca.resources") / _SHIPPED / wanted.file_name
        if not shipped.is_file():
            return None
        profile = _parsed(shipped.read_text(encoding="utf-8"), Path(str(shipped)))
    return profile if profile.weights_sha256 == wanted.weights.sha256 and profile.use == wanted.use else None


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        InputError: The file cannot be read, or is no profile.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not text"
        raise InputError(f"the profile {path} cannot be read: {reason}") from error
    return _parsed(text, path)


def _parsed(text: str, path: Path) -> Profile:
    try:
        return Profile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is not a profile of sca calibrate: {f'{place}: ' if place else ''}{first['msg']}",
            hint="delete it, or measure again with sca calibrate; --profile none uses none",
        ) from error


def identity(profile: Profile | None) -> dict[str, object]:
    """Return what a record of settings has of a profile: the numbers that change word times. Empty without one."""
    if profile is None:
        return {}
    names = set(Correction.__dataclass_fields__)
    numbers = profile.model_dump(include=names, exclude_defaults=True)
    return {"word_times": json.dumps(numbers, sort_keys=True)}

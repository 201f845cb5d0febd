"""One small conversation of two speakers in the file formats of the field, as the tools of the field write them.

Each shape is a function that writes a folder. `SHAPES` has the shapes that are read, by name; `ERRORS` those that are
not, with a part of the error.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from sca.data.corpora.base import Conversation, Track
from sca.data.duplex.audio.channel_audio import PartReader

RATE = 16_000
SECONDS = 8.0
WORDS = (
    (
        ("Guess", 0.5, 0.8),
        ("what,", 0.85, 1.2),
        ("Ben.", 1.3, 1.7),
        ("So", 4.0, 4.2),
        ("I", 4.3, 4.4),
        ("won.", 4.5, 5.0),
    ),
    (("No", 2.0, 2.3), ("way!", 2.4, 2.9), ("really?", 4.35, 4.8)),
)
LINES = (
    ((0.5, 1.7, "Guess what, Ben."), (4.0, 5.0, "So I won.")),
    ((2.0, 2.9, "No way!"), (4.35, 4.8, "really?")),
)
NAMES = ("spk0", "spk1")
TURNS = sorted((start, end, text, side) for side in (0, 1) for start, end, text in LINES[side])


def channels() -> np.ndarray:
    """Return the sound, of shape `(n, 2)`: a tone of its own for each speaker in that speaker's words."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    sound = np.full((len(time), 2), 1e-4, np.float32)
    for side, words in enumerate(WORDS):
        for _, start, end in words:
            inside = (time >= start) & (time < end)
            sound[inside, side] += 0.2 * np.sin(2 * np.pi * (200 + 100 * side) * time[inside])
    return sound


def loudest_side(track: Track) -> int:
    """Return the speaker whose sound a track has."""
    with PartReader(track.audio, track.part) as reader:
        sound = np.concatenate(list(reader))
        times = [(words[0][1], words[0][2]) for words in WORDS]
        return int(
            np.argmax([np.abs(sound[int(a * reader.rate_hz) : int(b * reader.rate_hz)]).max() for a, b in times])
        )


def by_side(conversation: Conversation) -> list[Track]:
    """Return the tracks in the order of `WORDS`, by their sound."""
    tracks = sorted(conversation.tracks, key=loudest_side)
    assert [loudest_side(track) for track in tracks] == [0, 1]
    return tracks


def assert_says(track: Track, side: int, other_words: dict[str, str] | None = None) -> None:
    """Check the text and the times of a track. Words that are interpolated may lie elsewhere."""
    lines, words = LINES[side], WORDS[side]
    text = " ".join(line[2] for line in lines).split()
    assert " ".join(u.text for u in track.utterances).split() == [(other_words or {}).get(word, word) for word in text]
    assert abs(track.utterances[0].start - lines[0][0] * 16_000) <= 16
    assert abs(track.utterances[-1].end - lines[-1][1] * 16_000) <= 16
    given = {(word, round(start, 2)) for word, start, _ in words}
    assert {(w.text, round(w.start / 16_000, 2)) for w in track.words or () if w.source == "given"} <= given


def stereo(folder: Path, name: str = "a", rate: int = RATE) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    sf.write(folder / f"{name}.wav", channels()[:: RATE // rate], rate)


def mono_pair(folder: Path, names: tuple[str, str] = ("a_1", "a_2")) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for side, name in enumerate(names):
        sf.write(folder / f"{name}.wav", channels()[:, side], RATE)


def with_stereo(name: str, content: str | bytes | dict | list, audio: str = "a", rate: int = RATE):
    """Return a shape: a stereo recording with one transcript."""

    def write(folder: Path) -> None:
        stereo(folder, audio, rate)
        put(folder / name, content)

    return write


def put(path: Path, content: str | bytes | dict | list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def per_channel(suffix: str, content: Callable[[int], str | dict], *, sides=("left", "right")):
    def write(folder: Path) -> None:
        stereo(folder)
        for side, name in enumerate(sides):
            put(folder / f"a.{name}{suffix}", content(side))

    return write


def per_speaker(suffix: str, content: Callable[[int], str | dict], names: tuple[str, str] = ("a_1", "a_2")):
    def write(folder: Path) -> None:
        mono_pair(folder, names)
        for side, name in enumerate(names):
            put(folder / f"{name}{suffix}", content(side))

    return write


def pair_with(name: str, content: str | dict):
    def write(folder: Path) -> None:
        mono_pair(folder)
        put(folder / name, content)

    return write


# Contents


def whisper(side: int, speaker: str | None = None, *, gaps: bool = False) -> list[dict]:
    segments = []
    for start, end, text in LINES[side]:
        words = [{"word": f" {w}", "start": a, "end": b, "score": 0.9} for w, a, b in WORDS[side] if start <= a < end]
        if gaps:
            words[1] = {"word": words[1]["word"]}  # whisperX has no times for what it cannot align
        named = {"speaker": speaker} if speaker else {}
        segments.append({"start": start, "end": end, "text": f" {text}", "words": words, **named})
    return segments


def whisperx() -> dict:
    both = whisper(0, "SPEAKER_00", gaps=True) + whisper(1, "SPEAKER_01")
    return {"segments": sorted(both, key=lambda segment: segment["start"]), "language": "en"}


def whisper_cpp(side: int) -> dict:
    rows = [{"offsets": {"from": int(a * 1000), "to": int(b * 1000)}, "text": f" {t}"} for a, b, t in LINES[side]]
    return {"systeminfo": "", "transcription": rows}


def deepgram(*, diarized: bool = False) -> dict:
    def word(text, start, end, side):
        who = {"speaker": side} if diarized else {}
        return {"word": text.lower(), "punctuated_word": text, "start": start, "end": end, "confidence": 0.9, **who}

    sides = [[word(*entry, side) for entry in WORDS[side]] for side in (0, 1)]
    if diarized:
        sides = [sorted(sides[0] + sides[1], key=lambda entry: entry["start"])]
    return {"results": {"channels": [{"alternatives": [{"transcript": "", "words": words}]} for words in sides]}}


def assemblyai() -> dict:
    def row(start, end, text, side):
        words = [
            {"text": w, "start": int(a * 1000), "end": int(b * 1000)} for w, a, b in WORDS[side] if start <= a < end
        ]
        times = {"start": int(start * 1000), "end": int(end * 1000)}
        return {"speaker": "AB"[side], **times, "text": text, "words": words}

    return {"id": "1", "language_code": "en_us", "utterances": [row(*turn) for turn in TURNS]}


def spokenwoz() -> dict:
    def word(text, start, end, side):
        times = {"BeginTime": int(start * 1000), "EndTime": int(end * 1000)}
        return {"Word": text, **times, "ChannelId": side, "SpeakerId": side}

    turns = [
        {
            "tag": ("system", "user")[side],
            "text": text,
            "words": [word(*entry, side) for entry in WORDS[side] if start <= entry[1] < end],
        }
        for start, end, text, side in TURNS
    ]
    return {"log": turns}


def textgrid(tiers: dict[str, list[tuple[float, float, str]]], *, short: bool = False) -> str:
    key = (lambda _: "") if short else (lambda name: f"{name} = ")
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", f"{key('xmin')}0", f"{key('xmax')}{SECONDS}"]
    lines += [
        "<exists>" if short else "tiers? <exists>",
        f"{key('size')}{len(tiers)}",
        *([] if short else ["item []:"]),
    ]
    for number, (name, spoken) in enumerate(tiers.items(), 1):
        filled, at = [], 0.0
        for start, end, text in spoken:
            filled += [(at, start, "")] * (start > at) + [(start, end, text)]
            at = end
        filled.append((at, SECONDS, ""))
        lines += [] if short else [f"item [{number}]:"]
        lines += [
            f'{key("class")}"IntervalTier"',
            f'{key("name")}"{name}"',
            f"{key('xmin')}0",
            f"{key('xmax')}{SECONDS}",
        ]
        lines.append(f"{'' if short else 'intervals: size = '}{len(filled)}")
        for index, (start, end, text) in enumerate(filled, 1):
            lines += [] if short else [f"intervals [{index}]:"]
            lines += [f"{key('xmin')}{start}", f"{key('xmax')}{end}", f'{key("text")}"{text}"']
    return "\n".join(lines) + "\n"


def line_tiers() -> dict[str, list[tuple[float, float, str]]]:
    return {NAMES[side]: list(LINES[side]) for side in (0, 1)}


def word_tiers() -> dict[str, list[tuple[float, float, str]]]:
    """The Montreal Forced Aligner writes words and phones of each speaker."""
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for side, name in enumerate(NAMES):
        tiers[f"{name} - words"] = [(start, end, text) for text, start, end in WORDS[side]]
        tiers[f"{name} - phones"] = [(start, end, "AH0") for _, start, end in WORDS[side]]
    return tiers


def elan(folder: Path) -> None:
    import pympi

    stereo(folder)
    eaf = pympi.Eaf()
    for side, name in enumerate(NAMES):
        eaf.add_tier(f"tier{side}", part=name)
        for start, end, text in LINES[side]:
            eaf.add_annotation(f"tier{side}", int(start * 1000), int(end * 1000), text)
    eaf.to_file(str(folder / "a.eaf"))


def ctm(channel: Callable[[int], object]) -> str:
    return "".join(
        f"a {channel(side)} {start:.2f} {end - start:.2f} {text} 0.9\n"
        for side in (0, 1)
        for text, start, end in WORDS[side]
    )


def stm(channel: Callable[[int], object]) -> str:
    return "".join(f"a {channel(s)} {NAMES[s]} {a:.2f} {b:.2f} <o,f0> {t}\n" for a, b, t, s in TURNS)


def rttm() -> str:
    return "".join(f"SPEAKER a 1 {a:.2f} {b - a:.2f} <NA> <NA> {NAMES[s]} <NA> <NA>\n" for a, b, _, s in TURNS)


def clock(seconds: float, mark: str) -> str:
    return f"00:00:{seconds:06.3f}".replace(".", mark)


def srt(side: int) -> str:
    cues = enumerate(LINES[side], 1)
    return "".join(f"{n}\n{clock(a, ',')} --> {clock(b, ',')}\n{t}\n\n" for n, (a, b, t) in cues)


def vtt(voice: str = "<v {}>{}</v>") -> str:
    cues = "".join(f"{clock(a, '.')} --> {clock(b, '.')}\n{voice.format(NAMES[s], t)}\n\n" for a, b, t, s in TURNS)
    return f"WEBVTT\n\n{cues}"


def table(header: list[str], delimiter: str = ",", scale: float = 1) -> str:
    import io

    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter)
    rows.writerow(header)
    rows.writerows([n, NAMES[s], a * scale, b * scale, t] for n, (a, b, t, s) in enumerate(TURNS))
    return text.getvalue()


def whisper_tsv(side: int) -> str:
    return "start\tend\ttext\n" + "".join(f"{int(a * 1000)}\t{int(b * 1000)}\t{t}\n" for a, b, t in LINES[side])


def labels(side: int) -> str:
    return "".join(f"{a:.6f}\t{b:.6f}\t{t}\n" for a, b, t in LINES[side])


def fisher() -> str:
    lines = "".join(f"{a:.2f} {b:.2f} {'AB'[s]}: {t}\n\n" for a, b, t, s in TURNS)
    return f"# fe_03_00001.sph\n# Transcribed at the LDC\n\n{lines}"


def telephone(suffix: str):
    """Return a shape: Fisher with a recording in the container or coding of `suffix`."""

    def write(folder: Path) -> None:
        put(folder / "fe_03_00001.txt", fisher())
        sf.write(folder / f"fe_03_00001.{suffix}", channels(), RATE, format={"sph": "NIST"}.get(suffix))

    return write


def switchboard(folder: Path) -> None:
    stereo(folder / "audio", "sw02001", 8000)
    for side, letter in enumerate("AB"):
        turns = [(0.0, LINES[side][0][0], "[silence]"), *LINES[side]]
        words = [(start, end, text) for text, start, end in WORDS[side]]
        for kind, rows in (("trans", turns), ("word", words)):
            text = "".join(f"sw2001{letter}-ms98-a-{n:04d} {a:.6f} {b:.6f} {t}\n" for n, (a, b, t) in enumerate(rows))
            put(folder / "transcriptions" / "20" / f"sw2001{letter}-ms98-a-{kind}.text", text)


def chat() -> str:
    turns = "".join(f"*{'AB'[s]}:\t&-um {t} [//] .\x15{int(a * 1000)}_{int(b * 1000)}\x15\n" for a, b, t, s in TURNS)
    return f"@UTF8\n@Begin\n@Participants:\tA Adult, B Adult\n{turns.replace('&-um ', '&=laughs ')}@End\n"


SHAPES: dict[str, Callable[[Path], None]] = {
    "whisperX": with_stereo("a.json", whisperx()),
    "whisperX, a segment without a speaker": with_stereo(
        "a.json",
        [{k: v for k, v in turn.items() if n != 2 or k != "speaker"} for n, turn in enumerate(whisperx()["segments"])],
    ),
    "whisper, per channel": per_channel(".json", lambda side: {"text": "", "segments": whisper(side)}),
    "whisper, per speaker": per_speaker(".json", lambda side: {"text": "", "segments": whisper(side)}),
    "whisper.cpp, per channel": per_channel(".json", whisper_cpp),
    "whisper TSV, per channel": per_channel(".tsv", whisper_tsv),
    "Deepgram, multichannel": with_stereo("a.json", deepgram()),
    "Deepgram, diarized": with_stereo("a.json", deepgram(diarized=True)),
    "AssemblyAI": with_stereo("a.json", assemblyai()),
    "SpokenWOZ": with_stereo("MUL0001.json", spokenwoz(), "MUL0001", 8000),
    "list of turns": with_stereo(
        "a.json", [{"speaker": NAMES[s], "start": a, "end": b, "text": t} for a, b, t, s in TURNS]
    ),
    "TextGrid": with_stereo("a.TextGrid", textgrid(line_tiers())),
    "TextGrid, UTF-16": with_stereo("a.TextGrid", textgrid(line_tiers()).encode("utf-16")),
    "TextGrid, short": with_stereo("a.TextGrid", textgrid(line_tiers(), short=True)),
    "TextGrid of MFA": with_stereo("a.TextGrid", textgrid(word_tiers())),
    "TextGrid, turns and words": with_stereo("a.TextGrid", textgrid(line_tiers() | word_tiers())),
    "ELAN": elan,
    "CTM": with_stereo("a.ctm", ctm(lambda side: side + 1)),
    "CTM of the mix, RTTM": lambda folder: (
        with_stereo("a.ctm", ctm(lambda _: 1))(folder),
        put(folder / "a.rttm", rttm()),
    )[0],
    "STM": with_stereo("a.stm", stm(lambda side: "AB"[side])),
    "STM of the mix": with_stereo("a.stm", stm(lambda _: 1)),
    "SRT, per channel": per_channel(".srt", srt),
    "SRT, per speaker": per_speaker(".srt", srt),
    "SRT, per speaker by name": per_speaker(".srt", srt, ("ann", "ben")),
    "VTT, per channel": per_channel(
        ".vtt", lambda side: "WEBVTT\n\n" + srt(side).replace(",0", ".0").replace(",3", ".3")
    ),
    "VTT with voices": with_stereo("a.vtt", vtt()),
    "VTT of whisperX": with_stereo("a.vtt", vtt("[{}]: {}").replace("spk", "SPEAKER_0")),
    "VTT with voices, per speaker": pair_with("a.vtt", vtt()),
    "CSV": with_stereo("a.csv", table(["turn_id", "speaker", "start", "stop", "utterance"])),
    "CSV in milliseconds": with_stereo("a.csv", table(["n", "speaker", "start_ms", "end_ms", "text"], ";", 1000)),
    "TSV, per speaker": pair_with("a.tsv", table(["n", "Speaker", "Begin", "End", "Transcript"], "\t")),
    "Audacity labels": per_speaker(".txt", labels),
    "Audacity labels, per channel": per_channel(".txt", labels, sides=("1", "2")),
    "Fisher, SPHERE": telephone("sph"),
    "Fisher, MP3": telephone("mp3"),
    "AssemblyAI, channels": with_stereo(
        "a.json",
        {
            "audio_channels": 2,
            "language_code": "en_us",
            "utterances": [
                {"channel": f"{s + 1}", "speaker": f"{s + 1}", "start": int(a * 1000), "end": int(b * 1000), "text": t}
                for a, b, t, s in TURNS
            ],
        },
    ),
    "transformers' pipeline, per channel": per_channel(
        ".json",
        lambda side: {"text": "", "chunks": [{"timestamp": [a, b], "text": f" {t}"} for a, b, t in LINES[side]]},
    ),
    "CSV, channels from 1": with_stereo(
        "a.csv", "start,end,text,channel\n" + "".join(f'{a},{b},"{t}",{s + 1}\n' for a, b, t, s in TURNS)
    ),
    "Fisher": with_stereo("fe_03_00001.txt", fisher(), "fe_03_00001", 8000),
    "Switchboard MS98": switchboard,
    "CHAT": with_stereo("4065.cha", chat(), "4065"),
}


def kaldi(folder: Path) -> None:
    stereo(folder)
    rows = [(f"{NAMES[s]}-{n}", f"a-{'AB'[s]}", a, b, t) for n, (a, b, t, s) in enumerate(TURNS)]
    put(folder / "wav.scp", "a a.wav\n")
    put(folder / "segments", "".join(f"{key} {talk} {a:.2f} {b:.2f}\n" for key, talk, a, b, _ in rows))
    put(folder / "text", "".join(f"{key} {t}\n" for key, *_, t in rows))


def kaldi_sides(folder: Path) -> None:
    """Kaldi's Switchboard recipe: a call of sph2pipe for each side."""
    kaldi(folder)
    calls = [f"a-{side} sph2pipe -f wav -p -c {n} a.wav |\n" for n, side in ((1, "A"), (2, "B"))]
    put(folder / "wav.scp", "".join(calls))
    put(folder / "reco2file_and_channel", "a-A a A\na-B a B\n")
    put(folder / "utt2spk", "".join(f"{NAMES[s]}-{n} a-{'AB'[s]}\n" for n, (_, _, _, s) in enumerate(TURNS)))


def nemo(folder: Path) -> None:
    stereo(folder)
    rows = [
        {"audio_filepath": "a.wav", "offset": a, "duration": b - a, "text": t, "speaker": NAMES[s]}
        for a, b, t, s in TURNS
    ]
    put(folder / "manifest.json", "".join(f"{json.dumps(row)}\n" for row in rows))


def supervisions(channel: Callable[[int], int | list[int]] = int, names: tuple[str, str] = NAMES):
    from lhotse import SupervisionSegment, SupervisionSet

    return SupervisionSet.from_segments(
        SupervisionSegment(f"s{n}", "a", a, round(b - a, 4), channel(s), text=t, speaker=names[s])
        for n, (a, b, t, s) in enumerate(TURNS)
    )


def recordings(folder: Path, *names: str):
    from lhotse import Recording, RecordingSet

    return RecordingSet.from_recordings(
        Recording.from_file(folder / f"{name}.wav", recording_id=name) for name in names
    )


def lhotse_manifests(folder: Path) -> None:
    stereo(folder)
    recordings(folder, "a").to_file(folder / "recordings.jsonl.gz")
    supervisions().to_file(folder / "supervisions.jsonl.gz")


def lhotse_both_channels(folder: Path) -> None:
    from lhotse import CutSet

    stereo(folder)
    CutSet.from_manifests(recordings(folder, "a"), supervisions(lambda _: [0, 1])).to_file(folder / "cuts.jsonl.gz")


def moshi_with_speakers(folder: Path) -> None:
    moshi(alignments(names=("SPEAKER_01", "SPEAKER_00")))(folder)


def alignments(scale: float = 1, names: tuple[str, str] = ("SPEAKER_MAIN", "SPEAKER_OTHER")) -> list[list]:
    """Return the words as moshi-finetune writes them, in the order of their starts."""
    words = [[text, [a * scale, b * scale], names[side]] for side in (0, 1) for text, a, b in WORDS[side]]
    return sorted(words, key=lambda word: word[1][0])


def moshi(words: list[list] | None, sound: np.ndarray | None = None, *, duration=SECONDS, rate=RATE, **keys):
    """Return a shape: moshi-finetune's list of one recording; without words, its annotate.py failed."""

    def write(folder: Path) -> None:
        (folder / "stereo").mkdir(parents=True)
        sf.write(folder / "stereo" / "a.wav", channels() if sound is None else sound, rate)
        put(folder / "data.jsonl", json.dumps({"path": "stereo/a.wav", "duration": duration}) + "\n")
        if words is None:
            put(folder / "stereo" / "a.json.err", "")
        else:
            put(folder / "stereo" / "a.json", {"alignments": words, **keys})

    return write


def moshi_milliseconds(folder: Path) -> None:
    moshi(alignments(1000))(folder)


def nemo_milliseconds(folder: Path) -> None:
    stereo(folder)
    rows = [
        {"audio_filepath": "a.wav", "offset": a * 1000, "duration": (b - a) * 1000, "text": t, "speaker": NAMES[s]}
        for a, b, t, s in TURNS
    ]
    put(folder / "manifest.json", "".join(f"{json.dumps(row)}\n" for row in rows))


def lhotse_padded(folder: Path) -> None:
    from lhotse import CutSet

    stereo(folder)
    (cut,) = CutSet.from_manifests(recordings(folder, "a"), supervisions())
    CutSet.from_cuts([cut.pad(duration=20)]).to_file(folder / "cuts.jsonl.gz")


def lhotse_cuts(*extra: tuple[float, float, str, int], symbols: bool = False):
    """Return a shape: a MultiCut with word alignments, more utterances, or symbols of an aligner."""

    def write(folder: Path) -> None:
        from lhotse import CutSet, SupervisionSegment, SupervisionSet
        from lhotse.supervision import AlignmentItem

        stereo(folder)
        spoken = []
        for n, (a, b, text, side) in enumerate([*TURNS, *extra]):
            items = [AlignmentItem(w, s, round(e - s, 4)) for w, s, e in WORDS[side] if a <= s < b]
            if symbols:
                items = [AlignmentItem("<eps>", 0.0, 0.3), *items]
            plain = SupervisionSegment(f"s{n}", "a", a, round(b - a, 4), side, text=text, speaker=NAMES[side])
            spoken.append(plain if n >= len(TURNS) else plain.with_alignment("word", items))
        cuts = CutSet.from_manifests(recordings(folder, "a"), SupervisionSet.from_segments(spoken))
        cuts.to_file(folder / "cuts.jsonl.gz")

    return write


def ramc(folder: Path, sound: np.ndarray | None = None, encoding: str = "utf-8") -> None:
    """MagicData-RAMC: one recording and one transcript for each conversation, and lines of no speaker."""
    name, (ann, ben) = "CTS-CN-F2F-2019-11-15-1", ("G00000016", "G00000015")
    (folder / "WAV").mkdir(parents=True)
    sf.write(folder / "WAV" / f"{name}.wav", channels() if sound is None else sound, RATE)
    lines = [f"[{a:.3f},{b:.3f}]\t{(ann, ben)[s]}\t女,普通话\t{t}\n" for a, b, t, s in TURNS]
    text = "".join(["[0.000,0.500]\t0\tnone\t[SYSTEM]\n", *lines])
    put(folder / "TXT" / f"{name}.txt", text.encode(encoding))
    put(folder / "SPKINFO.txt", "CHANNEL\tSPEAKER_ID\tGENDER\n")


def spokenwoz_list(folder: Path) -> None:
    """SpokenWOZ as it is distributed: one JSON of all dialogues, and a folder of recordings."""
    stereo(folder / "audio_5700_train_dev", "MUL0001", 8000)
    put(folder / "text_5700_train_dev" / "data.json", {"MUL0001": {"goal": {"train": {}}, **spokenwoz()}})


def nemo_duplex(folder: Path) -> None:
    from lhotse import CutSet, MonoCut

    mono_pair(folder, ("agent", "user"))
    agent, user = recordings(folder, "agent", "user")
    cut = MonoCut("a", 0, SECONDS, 0, list(supervisions(lambda _: 0, ("agent", "user"))), recording=user)
    cut.target_audio = agent
    CutSet.from_cuts([cut]).to_file(folder / "cuts.jsonl.gz")


LISTS: dict[str, Callable[[Path], None]] = {
    "MagicData-RAMC": ramc,
    "SpokenWOZ, data.json": spokenwoz_list,
    "Kaldi": kaldi,
    "Kaldi, a recording of each side": kaldi_sides,
    "NeMo manifest": nemo,
    "NeMo duplex cuts": nemo_duplex,
    "lhotse manifests without cuts": lhotse_manifests,
    "lhotse, padded cut": lhotse_padded,
    "lhotse, supervisions on both channels": lhotse_both_channels,
    "moshi-finetune, speakers without SPEAKER_MAIN": moshi_with_speakers,
}


def mono(folder: Path) -> None:
    mono_pair(folder, ("a", "unused"))
    (folder / "unused.wav").unlink()
    put(folder / "a.json", whisperx())


def mix_on_both_channels(folder: Path) -> None:
    folder.mkdir(parents=True)
    sf.write(folder / "a.wav", channels().mean(1, keepdims=True).repeat(2, 1), RATE)
    put(folder / "a.json", whisperx())


ERRORS: dict[str, tuple[Callable[[Path], None], str]] = {
    "one mono recording": (mono, "has 1 channel(s); two are needed, one per speaker"),
    "a TextGrid that is cut off": (
        with_stereo("a.TextGrid", textgrid({"nora": []})[:50]),
        "can read (list index out of range); open and save it in Praat",
    ),
    "the mix on both channels": (mix_on_both_channels, "the sound does not show which channel each has"),
    "no names of speakers": (
        with_stereo("a.srt", srt(0)),
        "does not name the speaker of each segment; add the speakers",
    ),
    "a transcript of three": (
        with_stereo(
            "a.json", [*whisper(0, "A"), *whisper(1, "B"), {"start": 6, "end": 7, "text": "hm", "speaker": "C"}]
        ),
        "has 3 speaker(s): A, B, C; two are needed",
    ),
    "MagicData-RAMC, mono": (
        lambda folder: ramc(folder, channels().mean(1)),
        "has 1 channel(s); two are needed, one per speaker: record each on a channel",
    ),
    "RTTM alone": (with_stereo("a.rttm", rttm()), "has turns without words; add a transcript"),
    "JSON of another kind": (with_stereo("a.json", {"title": "x"}), "has title; expected one of whisper's segments"),
    "CSV without times": (with_stereo("a.csv", "speaker,text\nA,hi\n"), "none of them named start or end"),
    "ELAN, truncated": (with_stereo("a.eaf", "<ANNOTATION_DOCUMENT>"), "is not an ELAN file that pympi can read"),
    "TextGrid, truncated": (with_stereo("a.TextGrid", 'File type = "ooTextFile"\n'), "is not a TextGrid that praatio"),
    "Kaldi, a command": (
        lambda folder: (kaldi(folder), put(folder / "wav.scp", "a flac -dc a.flac |\n"))[0],
        "has the command 'flac -dc a.flac |'; save its output as files",
    ),
}

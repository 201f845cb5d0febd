"""The conversation of `transcript_shapes` in tables of Hugging Face and in lhotse's Shar archives."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import soundfile as sf

from tests.helpers import transcript_shapes as shapes


def encoded(side: int | None, kind: str = "WAV") -> bytes:
    """Return the file of a speaker's recording, or of the stereo recording."""
    file = io.BytesIO()
    sound = shapes.channels() if side is None else shapes.channels()[:, side]
    sf.write(file, sound, shapes.RATE, format=kind)
    return file.getvalue()


def segments(side: int) -> list[dict]:
    return [{"start": a, "end": b, "text": t} for a, b, t in shapes.LINES[side]]


def turns(names: tuple[str, str]) -> list[dict]:
    return [{"speaker": names[s], "start": a, "end": b, "text": t} for a, b, t, s in shapes.TURNS]


def words(side: int) -> list[dict]:
    return [{"word": w, "start": a, "end": b} for w, a, b in shapes.WORDS[side]]


def audio(side: int | None, kind: str = "WAV") -> dict:
    return {"bytes": encoded(side, kind), "path": f"a.{kind.lower()}"}


def parquet(columns: dict[str, list], name: str = "data/train-00000-of-00001.parquet"):
    def write(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / name)

    return write


def hugging_face(folder: Path):
    """Return a Dataset with two columns of `Audio`, made by `datasets`."""
    from datasets import Audio, Dataset

    shapes.mono_pair(folder, ("left", "right"))
    paths = [str(folder / f"{name}.wav") for name in ("left", "right")]
    data = {"audio_left": [paths[0]], "audio_right": [paths[1]], "segments_left": [segments(0)]}
    data |= {"segments_right": [segments(1)], "conversation_id": ["talk7"]}
    return Dataset.from_dict(data).cast_column("audio_left", Audio()).cast_column("audio_right", Audio())


def parquet_by_datasets(folder: Path) -> None:
    data = hugging_face(folder.parent / "sound")
    folder.mkdir(parents=True)
    data.to_parquet(folder / "train.parquet")


def saved_to_disk(folder: Path) -> None:
    from datasets import DatasetDict

    DatasetDict({"train": hugging_face(folder.parent / "sound")}).save_to_disk(folder)


def audio_folder(folder: Path) -> None:
    shapes.mono_pair(folder, ("x_left", "x_right"))
    rows = {"left_file_name": "x_left.wav", "right_file_name": "x_right.wav", "segments": turns(("left", "right"))}
    shapes.put(folder / "metadata.jsonl", f"{json.dumps(rows)}\n")


def audio_folder_stereo(folder: Path) -> None:
    shapes.stereo(folder, "clip")
    text = json.dumps(turns(("ann", "ben"))).replace('"', '""')
    shapes.put(folder / "metadata.csv", f'file_name,transcript\nclip.wav,"{text}"\n')


def shar(folder: Path) -> None:
    from lhotse import CutSet
    from lhotse.shar import SharWriter

    shapes.nemo_duplex(folder.parent / "cuts")
    (folder / "shar").mkdir(parents=True)
    with SharWriter(str(folder / "shar"), fields={"recording": "flac", "target_audio": "flac"}, shard_size=4) as writer:
        for cut in CutSet.from_file(folder.parent / "cuts" / "cuts.jsonl.gz"):
            writer.write(cut)


def shar_multi_channel(folder: Path) -> None:
    from lhotse import CutSet

    shapes.stereo(folder.parent / "cuts")
    cuts = CutSet.from_manifests(shapes.recordings(folder.parent / "cuts", "a"), shapes.supervisions())
    folder.mkdir(parents=True)
    cuts.to_shar(folder, fields={"recording": "flac"}, shard_size=4)


TABLES: dict[str, Callable[[Path], None]] = {
    "datasets, to_parquet": parquet_by_datasets,
    "datasets, save_to_disk": saved_to_disk,
    "audio folder, metadata.jsonl": audio_folder,
    "audio folder, metadata.csv": audio_folder_stereo,
    "left and right, words": parquet(
        {
            "audio_left": [audio(0, "FLAC")],
            "audio_right": [audio(1)],
            "words_left": [words(0)],
            "words_right": [words(1)],
        }
    ),
    "user and assistant, bytes": parquet(
        {
            "user_audio": [encoded(0)],
            "assistant_audio": [encoded(1, "OGG")],
            "transcript": [turns(("USER", "Assistant"))],
        }
    ),
    "speaker1 and speaker2, JSON": parquet(
        {
            "speaker1": [audio(0)],
            "speaker2": [audio(1)],
            "speaker1_transcript": [json.dumps(segments(0))],
            "speaker2_transcript": [json.dumps({"segments": segments(1)})],
        }
    ),
    "a and b, a mix, names that the sound shows": parquet(
        {"audio": [audio(None)], "audio_a": [audio(0)], "audio_b": [audio(1)], "turns": [turns(("Nora", "Max"))]}
    ),
    "stereo, alignments of moshi": parquet(
        {
            "audio": [audio(None)],
            "alignments": [
                json.dumps(
                    [
                        [w, [a, b], f"SPEAKER_{'MAIN' if s == 0 else 'OTHER'}"]
                        for s in (0, 1)
                        for w, a, b in shapes.WORDS[s]
                    ]
                )
            ],
        }
    ),
    "milliseconds, struct of lists": parquet(
        {
            "audio_0": [audio(0)],
            "audio_1": [audio(1)],
            **{
                f"utterances_{s}": [
                    {
                        "start": [int(a * 1000) for a, _, _ in shapes.LINES[s]],
                        "end": [int(b * 1000) for _, b, _ in shapes.LINES[s]],
                        "text": [t for _, _, t in shapes.LINES[s]],
                    }
                ]
                for s in (0, 1)
            },
        }
    ),
}

SHARS: dict[str, Callable[[Path], None]] = {"NeMo duplex, Shar": shar, "Shar of a MultiCut": shar_multi_channel}

"""How each export is opened, in Markdown, for its card. The code is what the tests run."""

__all__ = ["opening"]


def opening(kind: str, splits: list[str]) -> str:
    """Of an export in the format `kind`."""
    split = splits[0] if splits else "train"
    match kind:
        case "parquet":
            return """
```python
import datasets

rows = datasets.load_dataset("PATH")  # splits of rows
storage = datasets.load_dataset("PATH", "storage")  # audio and words, one row a speaker of a conversation
```

A row names its `session_id`, `listener` and `speaker`; its audio is in `storage`, from `start_chunk` on. `sca verify PATH` proves
it.
"""
        case "webdataset":
            return f"""
```python
import webdataset

rows = webdataset.WebDataset("PATH/{split}-000000.tar", shardshuffle=False).decode()
```

`json` is the row, `input_ids.npy` its tokens, `heard.flac` (16 kHz) and `spoken.flac` (24 kHz) its chunks of sound.
`sessions.jsonl` has the words of whole conversations. `sca verify PATH` proves the rows.
"""
        case "moshi":
            return """
For moshi-finetune: `data.train_data` is `data.jsonl`. Left is the speaker to be learned (`SPEAKER_MAIN`), right whom it hears
(`SPEAKER_OTHER`); every conversation is there once a side. The words are in the JSON file beside each WAV. There is no grid in it.
"""
        case _:
            return """
```python
import lhotse

cuts = lhotse.CutSet.from_file("PATH/cuts.jsonl.gz").with_recording_path_prefix("PATH")
```

A cut a conversation, a channel a speaker (24 kHz), a supervision a segment with its words aligned. There is no grid in it.
"""

"""The descriptions of columns are those of the `datasets` library."""

import json
from dataclasses import asdict

import datasets
import pytest

from sca.data.datasets.arrow import write_split_files
from sca.data.duplex.storage import writer
from sca.data.shows import storage

TABLES = {
    **{f"duplex {table}": writer.features(table) for table in ("storage", "rows")},
    **{f"shows {table}": storage.features(table) for table in ("storage", "train")},
}


@pytest.mark.parametrize("table", TABLES)
def test_datasets_describes_the_columns_equally(table, tmp_path):
    features = TABLES[table]
    theirs = datasets.Features.from_dict(features.to_json())
    assert features.arrow_schema.equals(theirs.arrow_schema, check_metadata=True)
    assert datasets.Features.from_arrow_schema(features.arrow_schema) == theirs

    write_split_files(tmp_path, "train", features, ["a.arrow"], ["key"])
    info = asdict(datasets.DatasetInfo(features=theirs))
    expected = json.dumps({key: info[key] for key in sorted(info)}, indent=2) + "\n"
    assert (tmp_path / "dataset_info.json").read_text() == expected
    assert datasets.DatasetInfo.from_directory(str(tmp_path)).features == theirs

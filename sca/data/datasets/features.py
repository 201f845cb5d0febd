"""Columns of data sets, described as `datasets.Features` describes them.

`import datasets` takes over a second of processor time, most of it for pandas and clients of the hub. The files that sca
writes need its Arrow types and its JSON only, in the form of datasets 4.
"""

import json
from collections import UserDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow import DataType, Schema

__all__ = ["Audio", "Feature", "Features", "List", "Value"]


@dataclass(frozen=True, slots=True)
class Value:
    """A number, a text or a truth value; `dtype` is its name in Arrow."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Audio:
    """The bytes of an audio file and its name. Readers get them undecoded, so they need no decoder."""

    sampling_rate: int


@dataclass(frozen=True, slots=True)
class List:
    """A list. Its length is fixed, or -1."""

    feature: "Feature"
    length: int = -1


Feature = Value | Audio | List | dict[str, "Feature"]
"""The type of a column, or of what is in it. A dictionary is a record."""


class Features(UserDict[str, Feature]):
    """The columns of a table by name, in order."""

    @property
    def arrow_schema(self) -> "Schema":
        """The Arrow schema. Its metadata lets `datasets` know the columns."""
        import pyarrow as pa

        described = {"info": {"features": _without_defaults(self.to_json())}}
        fields = [(name, _arrow_type(feature)) for name, feature in self.items()]
        return pa.schema(fields).with_metadata({"huggingface": json.dumps(described)})

    def to_json(self) -> dict[str, object]:
        """Return the columns as `dataset_info.json` describes them."""
        return {name: _to_json(feature) for name, feature in self.items()}


def _to_json(feature: Feature) -> dict[str, object]:
    match feature:
        case Value(dtype):
            return {"dtype": dtype, "id": None, "_type": "Value"}
        case Audio(rate):
            channels = {"num_channels": None, "stream_index": None}
            return {"sampling_rate": rate, "decode": False, **channels, "id": None, "_type": "Audio"}
        case List(inner, length):
            return {"feature": _to_json(inner), "length": length, "id": None, "_type": "List"}
    return {name: _to_json(inner) for name, inner in feature.items()}


def _without_defaults(described: dict[str, object]) -> dict[str, object]:
    """Return the short form, in which the metadata of Arrow files has it."""
    short: dict[str, object] = {}
    for name, value in described.items():
        if isinstance(value, dict):
            short[name] = _without_defaults(value)
        elif value is not None and (name, value) != ("length", -1):
            short[name] = value
    return short


def _arrow_type(feature: Feature) -> "DataType":
    import pyarrow as pa

    match feature:
        case Value(dtype):
            return pa.type_for_alias(dtype)
        case Audio():
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        case List(inner, length):
            return pa.list_(_arrow_type(inner), length)
    return pa.struct([(name, _arrow_type(inner)) for name, inner in feature.items()])

"""Search results: documents of this version, of other versions, and invalid ones."""

import json

import pytest

from sca.errors import InputError
from sca.schemas import SearchResult, SearchResults, read_results, video_id

OLD = {
    "query": "StandUp Comedy English",
    "count": 1,
    "results": [
        {
            "url": "https://www.youtube.com/watch?v=abcdefghijk",
            "title": "A title",
            "length": 912.0,
            "publish_date": "2024-02-01",
        }
    ],
}


def test_round_trip():
    one = SearchResult(id="abcdefghijk", url="https://youtu.be/abcdefghijk", title="t", length=66, channel="C")
    written = SearchResults(query="q", count=1, results=(one,)).model_dump_json()
    assert read_results(written, "x").results == (one,)
    assert list(json.loads(written)) == ["query", "count", "results"]
    assert json.loads(written)["results"][0]["length"] == 66


def test_reads_other_versions():
    plain = OLD | {"made_by": "something", "results": [OLD["results"][0] | {"rating": 4.5, "title": None}]}
    (one,) = read_results("\ufeff".strip("\ufeff") + json.dumps(plain), "old.json").results
    assert (one.id, one.length, one.publish_date, one.title) == ("abcdefghijk", 912.0, "2024-02-01", "")


def test_id_without_url():
    (one,) = read_results('{"results": [{"id": "-abcdefghi_"}]}', "x").results
    assert one.url == "https://www.youtube.com/watch?v=-abcdefghi_"


def test_empty_list_is_valid():
    assert read_results('{"query": "x", "count": 0, "results": []}', "x").count == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "videos.json is empty"),
        ("{", "videos.json is not JSON"),
        ("[1]", "contains a list, not an object with `results`"),
        ('{"videos": []}', "has no field `results`"),
        ('{"results": {}}', "a field `results` that is not a list"),
        ('{"results": ["abcdefghijk"]}', r"results\[0\] is a str, not an object"),
        ('{"results": [{"url": "https://a.b/c"}, {"title": "t"}]}', r"results\[1\]: field `url`: field required"),
        ('{"results": [{"url": 3}]}', r"results\[0\]: field `url`: .*string, got '3'"),
        ('{"results": [{"url": "https://a.b/c", "length": "long"}]}', r"results\[0\]: field `length`: .*got 'long'"),
        ('{"results": [{"url": "https://a.b/c", "length": -1}]}', r"results\[0\]: field `length`"),
    ],
)
def test_error_names_the_field(text, message):
    with pytest.raises(InputError, match=message):
        read_results(text, "videos.json")


@pytest.mark.parametrize(
    "text",
    [
        "abcdefghijk",
        "https://www.youtube.com/watch?v=abcdefghijk&list=PL1",
        "https://youtu.be/abcdefghijk?t=3",
        "http://m.youtube.com/watch?v=abcdefghijk",
        "https://www.youtube.com/shorts/abcdefghijk",
        "https://www.youtube.com/live/abcdefghijk",
        "https://www.youtube-nocookie.com/embed/abcdefghijk",
    ],
)
def test_video_id_of_every_url_form(text):
    assert video_id(text) == "abcdefghijk"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "abcdefghij!",
        "https://www.youtube.com/",
        "https://www.youtube.com/playlist?list=PLabcdefghijk",
        "https://notyoutube.com/watch?v=abcdefghijk",
        "https://evil.example/youtu.be/abcdefghijk",
        "ftp://youtu.be/abcdefghijk",
        "https://[youtu.be/abcdefghijk",
    ],
)
def test_no_video_id(text):
    assert video_id(text) is None

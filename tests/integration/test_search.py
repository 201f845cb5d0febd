"""`sca search` against a YouTube on the loopback interface, with the real yt-dlp: pages, filters, formats, faults."""

import gc
import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.acquire import search, video_metadata
from tests.helpers import fake_youtube

Video = fake_youtube.Video

ROOT = Path(__file__).resolve().parents[2]

# yt-dlp does not close the connection of a request that timed out; the garbage collector warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collect_garbage():
    """Make such a warning appear in its own test."""
    yield
    gc.collect()


def videos(media):
    """Yield 120 videos: every tenth live, every tenth private, every second Creative Commons."""
    for n in range(120):
        yield Video(
            f"fakeVid{n:04d}",
            f"Talk {n}",
            seconds=60 + n,
            channel=n % 3,
            views=1000 + (n * 37) % 120,
            uploaded=f"2023-{1 + n // 10:02d}-{1 + n % 10:02d}T04:05:06-07:00",
            licence=fake_youtube.CREATIVE_COMMONS if n % 2 else None,
            language="de" if n % 4 == 1 else "en-GB",
            live=n % 10 == 9,
            unavailable="Private video" if n % 10 == 5 else None,
            files=(media,),
        )


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    media = tmp_path_factory.mktemp("media") / "any.webm"
    media.write_bytes(b"never asked for")
    site = fake_youtube.Site()
    site.add(videos(media))
    # Sites repeat results: the third page begins with those of the first one.
    site.found[40:40] = site.found[:5]
    with fake_youtube.FakeYouTube(site, tmp_path_factory.mktemp("tls")) as served:
        yield served


@pytest.fixture
def run(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    fake.site.log.clear()
    fake.site.faults.clear()

    def invoke(*arguments, words=("two", "people", "talk")):
        return CliRunner().invoke(app, ["search", *words, "--sleep-interval", "0", *fake.options, *arguments])

    return invoke


def document(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def numbers(found):
    return [int(one["id"][-4:]) for one in found["results"]]


def pages(fake):
    return len(fake.site.requests_to("youtube.com", "/search"))


def test_reads_pages_until_enough_results_pass(run, fake):
    found = document(run("--output-format", "json", "--max-results", "30", "--exclude-live"))
    assert numbers(found) == [n for n in range(120) if n % 10 != 9][:30]
    assert (found["query"], found["count"]) == ("two people talk", 30)
    assert pages(fake) == 2
    assert fake.site.requests_to("youtube.com", "/watch") == [], "a plain search fetches no metadata"
    one = found["results"][0]
    assert one == {
        "id": "fakeVid0000", "url": "https://www.youtube.com/watch?v=fakeVid0000", "title": "Talk 0", "length": 60,
        "publish_date": None, "channel": "Chan 0", "channel_id": "UC0000000000000000000000",
        "channel_url": "https://www.youtube.com/@chan0", "views": 1000, "live_status": None, "license": None,
        "language": None,
    }  # fmt: skip


def test_all_pages_without_duplicates(run, fake):
    done = run("--output-format", "json", "--max-results", "1000")
    assert numbers(document(done)) == list(range(120))
    assert pages(fake) == 7
    assert "5 found before" in done.stderr


def test_length_bounds_are_inclusive(run):
    found = document(run("--output-format", "json", "--min-length", "100", "--max-length", "110"))
    assert numbers(found) == [n for n in range(40, 51) if n % 10 != 9]


@pytest.mark.parametrize("name", ["Chan 2", "chan2", "@CHAN2", "UC0000000000000000000002"])
def test_channel_filter_accepts_all_names(run, name):
    found = document(run("--output-format", "json", "--channel", name))
    assert numbers(found) == list(range(2, 120, 3))


@pytest.mark.parametrize(("by", "field"), [("views", "views"), ("length", "length")])
def test_sort_order(run, by, field):
    values = [one[field] for one in document(run("--output-format", "json", "--sort", by))["results"]]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values[: len(known)] == known


def test_metadata_are_fetched_once_and_cached(run, fake):
    arguments = ("--output-format", "json", "--max-results", "4", "--license", "creative-commons", "--exclude-live")
    found = document(run(*arguments))
    assert numbers(found) == [1, 3, 7, 11]
    assert {one["license"] for one in found["results"]} == {fake_youtube.CREATIVE_COMMONS}
    assert found["results"][0]["publish_date"] == "2023-01-02"
    looked = {one.video for one in fake.site.requests_to("youtube.com", "/watch")}
    assert looked == {f"fakeVid{n:04d}" for n in range(12) if n % 10 != 9}, "only videos that pass the other filters"
    fake.site.log.clear()
    assert document(run(*arguments)) == found
    assert fake.site.requests_to("youtube.com", "/watch") == []


def test_date_and_language_filters_and_enrich(run):
    dated = document(
        run("--output-format", "json", "--since", "2023-01-03", "--until", "2023-01-08", "--max-results", "5")
    )
    assert numbers(dated) == [2, 3, 4, 6, 7], "5 is private"
    spoken = document(run("--output-format", "json", "--language", "de", "--max-results", "2", "--exclude-live"))
    assert numbers(spoken) == [1, 13]
    assert (
        document(run("--output-format", "json", "--language", "en", "--max-results", "2"))["results"][1]["id"][-1]
        == "2"
    )
    rich = document(run("--output-format", "json", "--enrich", "--max-results", "2"))
    assert [(one["publish_date"], one["language"]) for one in rich["results"]] == [
        ("2023-01-01", "en-GB"),
        ("2023-01-02", "de"),
    ]


def test_search_bounds(run, monkeypatch, fake):
    monkeypatch.setattr(video_metadata, "MAX_FETCHED", 4)
    done = run("--output-format", "json", "--enrich")
    assert numbers(document(done)) == [0, 1, 2, 3]
    assert "stopped before the end" in done.stderr
    again = run("--output-format", "json", "--enrich")
    assert numbers(document(again)) == [0, 1, 2, 3, 4, 6, 7], "cached metadata are not counted"
    monkeypatch.setattr(search, "MAX_CANDIDATES", 25)
    done = run("--output-format", "json")
    assert numbers(document(done)) == list(range(25))
    assert "25 results read, which is the maximum" in done.stderr


def test_text_and_table_output(run):
    done = run("--max-results", "2", "--exclude-live")
    assert done.stdout.splitlines() == ["fakeVid0000\t1:00\t\tChan 0\tTalk 0", "fakeVid0001\t1:01\t\tChan 1\tTalk 1"]
    assert done.stderr.startswith("sca: 2 videos (")
    table = run("--max-results", "2", "--output-format", "table").stdout.splitlines()
    assert table[0].split() == ["id", "length", "date", "channel", "title"]
    assert table[1].split()[:2] == ["fakeVid0000", "1:00"]
    assert run("--max-results", "2", "--quiet").stderr == ""


def test_save_file_holds_the_document(run, tmp_path):
    saved = tmp_path / "new folder" / "videos.json"
    done = run("--output-format", "json", "--max-results", "3", "--save-file", str(saved))
    assert json.loads(saved.read_text()) == document(done)
    assert f"saved in {saved}" in done.stderr
    (tmp_path / "file").write_text("")
    done = run("--max-results", "1", "--save-file", str(tmp_path / "file" / "videos.json"))
    assert done.exit_code == 5
    assert done.stderr.count("sca:") == 1


def test_empty_result_is_not_an_error(run, tmp_path):
    done = run("--output-format", "json", words=["nothing"])
    assert document(done) == {"schema": "sca.search/1", "query": "nothing", "count": 0, "results": []}
    assert "nothing was found for 'nothing'" in done.stderr
    done = run("--min-length", "9000", "--output-format", "table")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "left out: 108 too short, 12 length not known" in done.stderr


@pytest.mark.parametrize("faults", [[500], [503, 500]])
def test_server_error_is_retried(run, fake, faults):
    fake.site.faults["search"] = list(faults)
    assert document(run("--output-format", "json", "--max-results", "1"))["count"] == 1


@pytest.mark.parametrize(
    ("faults", "message"), [([429], "429"), ([403], "403"), ([500] * 9, "500"), ([200, 429], "429")], ids=str
)
def test_refusal_is_one_line_and_exit_6(run, fake, faults, message):
    fake.site.faults["search"] = [None if status == 200 else status for status in faults]
    done = run("--output-format", "json", "--retries", "2")
    assert (done.exit_code, done.stdout) == (6, "")
    assert done.stderr.startswith("sca: searching: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 2, "the error and its hint"


def test_refusal_of_metadata_ends_the_search(run, fake):
    fake.site.faults[("watch", "fakeVid0000")] = [429] * 9
    fake.site.faults[("player", "fakeVid0000")] = [429] * 9
    done = run("--enrich")
    assert done.exit_code == 6
    assert "looking at fakeVid0000" in done.stderr


def test_unreachable_proxy_is_exit_6(run):
    done = run("--proxy", "http://127.0.0.1:9", "--retries", "1")
    assert done.exit_code == 6
    assert done.stderr.splitlines()[0] == "sca: searching: the proxy cannot be reached, or refuses (Connection refused)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-length", "20", "--max-length", "10"), "no length is from 20.0 to 10.0"),
        (("--since", "2024-02-01", "--until", "2024-01-01"), "no date is from 2024-02-01"),
        (("--ytdlp-opt", "alone"), "KEY=VALUE"),
        (("--since", "yesterday"), "yesterday"),
    ],
)
def test_invalid_options_are_exit_2(run, arguments, message):
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert run(words=[" "]).exit_code == 2


def test_script_works_from_any_folder_and_any_python(fake, tmp_path):
    # This PATH has a Python without sca, so the script starts the project's.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SCA_CACHE_DIR": str(tmp_path / "cache")}
    command = [str(ROOT / "scripts" / "search.py"), "StandUp", "Comedy", "English", "--output-format", "json"]
    command += [
        "--max-results",
        "5",
        "--min-length",
        "90",
        "--max-length",
        "240",
        "--save-file",
        "./dataset/videos.json",
    ]
    done = subprocess.run(
        [*command, *fake.options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "dataset" / "videos.json").read_text()) == json.loads(done.stdout)
    assert json.loads(done.stdout)["count"] == 5

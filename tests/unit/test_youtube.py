"""yt-dlp without a network: its errors and options, file names, rate limits, and the videos to download."""

import errno
from itertools import pairwise

import pytest
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, ProxyError, TransportError
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, UnsupportedError

from sca.data.acquire.archive import Archive
from sca.data.acquire.media_file import archive_key, file_id, file_name, has_file_id
from sca.data.acquire.rate_limit import VIDEOS_PER_HOUR, RateLimiter, Schedule
from sca.data.acquire.targets import DownloadTarget, choose, read_targets
from sca.data.acquire.video_metadata import spoken_language
from sca.data.acquire.youtube import Site, open_ydl, parse_options
from sca.data.acquire.youtube_errors import FailureKind, classify
from sca.errors import InputError, OutputError, UpstreamError, UsageError


def http(status: int) -> HTTPError:
    return HTTPError(Response(None, "https://x.example/", {}, status=status))


def wrapped(message: str, cause: BaseException) -> DownloadError:
    return DownloadError(f"ERROR: {message}", (type(cause), cause, None))


def extraction(message: str, cause: Exception | None = None, *, expected: bool = True) -> DownloadError:
    inner = ExtractorError(message, cause=cause, expected=expected, video_id="abcdefghijk", ie="youtube")
    return wrapped(str(inner), inner)


MEDIA = "unable to download video data: "


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "reason"),
    [
        (wrapped(MEDIA + "HTTP Error 403", http(403)), FailureKind.media, True, "HTTP 403 for the media"),
        (wrapped(MEDIA + "HTTP Error 404", http(404)), FailureKind.media, True, "HTTP 404 for the media"),
        (wrapped(MEDIA + "HTTP Error 500", http(500)), FailureKind.media, True, "HTTP 500 for the media"),
        (wrapped(MEDIA + "3 bytes read", IncompleteRead(3, 5)), FailureKind.media, True, "3 bytes read"),
        (
            extraction("Unable to download API page", http(429)),
            FailureKind.refused,
            True,
            "Unable to download API page",
        ),
        (
            extraction("Unable to download API page", http(503)),
            FailureKind.refused,
            True,
            "Unable to download API page",
        ),
        (extraction("Unable to download webpage", http(404)), FailureKind.gone, False, "Unable to download webpage"),
        (extraction("Unable to reach", TransportError("timed out")), FailureKind.unreachable, True, "Unable to reach"),
        (
            extraction("no", ProxyError("refused")),
            FailureKind.unreachable,
            True,
            "the proxy cannot be reached, or refuses",
        ),
        (extraction("Private video. Sign in if you've been granted access"), FailureKind.gone, False, "Private video"),
        (extraction("Sign in to confirm you’re not a bot. Use --cookies"), FailureKind.refused, True, "not a bot"),
        (
            extraction("Private video. Sign in if you've been granted access"),
            FailureKind.gone,
            False,
            "give its cookies",
        ),
        (extraction("Join this channel to get access to members-only content"), FailureKind.gone, False, "its cookies"),
        (extraction("Sign in to confirm your age. Use --cookies"), FailureKind.gone, False, "--cookies-from-browser"),
        (
            extraction("Sign in to confirm you're not a bot"),
            FailureKind.refused,
            True,
            "wait a while, or give --cookies",
        ),
        (extraction("This video is unavailable"), FailureKind.gone, False, "This video is unavailable"),
        (extraction("Premieres in 3 hours"), FailureKind.broken, True, "Premieres in 3 hours"),
        (extraction("No video formats found!", expected=False), FailureKind.broken, True, "No video formats found!"),
        (extraction("gone", GeoRestrictedError("not in your country")), FailureKind.gone, False, "gone"),
        (wrapped("Unsupported URL: x", UnsupportedError("x")), FailureKind.gone, False, "does not support this site"),
        (
            wrapped("unable to write data", OSError(errno.ENOSPC, "No space left")),
            FailureKind.disk,
            True,
            "disk is full",
        ),
        (
            wrapped("unable to write data", OSError(errno.EFBIG, "File too large")),
            FailureKind.disk,
            True,
            "disk is full",
        ),
        (
            wrapped("unable to open", PermissionError(errno.EACCES, "denied")),
            FailureKind.disk,
            True,
            "cannot be written",
        ),
        (ValueError(), FailureKind.broken, True, "ValueError"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_classify_errors(error, kind, retryable, reason):
    failure = classify(error)
    assert (failure.kind, failure.retryable) == (kind, retryable)
    assert reason in failure.reason
    assert "ERROR" not in failure.reason
    assert "report this" not in failure.reason
    assert "\n" not in failure.reason
    ends = failure.as_error("downloading")
    assert isinstance(ends, OutputError if kind is FailureKind.disk else UpstreamError)


def test_option_values_are_parsed_as_json_if_valid():
    assert parse_options(["a=true", "b=3", "c=text", 'd={"e": [1]}', "f=x=y", "g="]) == {
        "a": True, "b": 3, "c": "text", "d": {"e": [1]}, "f": "x=y", "g": "",
    }  # fmt: skip
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_options(["alone"])


def test_site_options_and_overrides(tmp_path):
    options = Site(proxy="http://p", retry_sleep_s=0.5, extra={"retries": 9, "new": 1}).options()
    assert (options["proxy"], options["retries"], options["new"]) == ("http://p", 9, 1)
    pause = options["retry_sleep_functions"]["http"]
    assert [pause(n) for n in (1, 2, 3, 10)] == [0.5, 1.0, 2.0, 30.0]
    with pytest.raises(InputError, match="does not exist"):
        Site(cookies=tmp_path / "none.txt").options()
    with pytest.raises(UsageError, match="unknown browser 'netscape'"):
        Site(cookies_from_browser="netscape").options()
    assert Site(cookies_from_browser="firefox:work").options()["cookiesfrombrowser"] == ("firefox", "work", None, None)


def test_bad_cookie_file_is_one_error(tmp_path):
    bad = tmp_path / "cookies.txt"
    bad.write_text("this is no cookie file")
    with pytest.raises(UsageError, match="yt-dlp does not accept"):
        open_ydl(Site(cookies=bad))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Plain", "Plain [abcdefghijk].webm"),
        ('a/b\\c:d*e?f"g<h>i|j', "a_b_c_d_e_f_g_h_i_j [abcdefghijk].webm"),
        ("two\nlines\tand\x00more", "two lines and more [abcdefghijk].webm"),
        ("--leading", "leading [abcdefghijk].webm"),
        (".hidden. ", "hidden [abcdefghijk].webm"),
        ("../../etc/passwd", "_.._etc_passwd [abcdefghijk].webm"),
        ("", "untitled [abcdefghijk].webm"),
        ("...", "untitled [abcdefghijk].webm"),
        ("half \ud83d surrogate", "half ? surrogate [abcdefghijk].webm".replace("?", "_")),
        ("Cafe\u0301 🎙️", "Café 🎙 [abcdefghijk].webm"),
    ],
)
def test_file_names_are_safe(title, name):
    assert file_name(title, "abcdefghijk", "webm") == name


def test_file_names_are_short_and_keep_whole_characters():
    for letter in ("x", "é", "語", "👩‍🚀"):
        name = file_name(letter * 300, "abcdefghijk", "info.json")
        assert len(name.encode()) <= 130
        assert name.endswith("[abcdefghijk].info.json")
        assert "\u200d [" not in name
    assert file_name("t", "-_starts_so", "m4a") == "t [-_starts_so].m4a"
    assert "/" not in file_name("t", "../x" * 100, "m4a")


def test_archive_keys_are_those_of_ytdlp():
    assert archive_key({"extractor_key": "Youtube", "id": "abcdefghijk"}) == "youtube abcdefghijk"
    generic = {"extractor_key": "Generic", "id": "v0", "original_url": "https://a.example/v0.webm"}
    assert archive_key(generic) == "generic https://a.example/v0.webm"


def test_newlines_of_an_address_make_no_lines_of_the_archive(tmp_path):
    url = "https://a.example/v0.webm?\nyoutube abcdefghijk\r\x85\u2028youtube bbcdefghijk"
    key = archive_key({"extractor_key": "Generic", "id": "v0", "original_url": url})
    assert key == ("generic https://a.example/v0.webm?%0Ayoutube abcdefghijk%0D%C2%85%E2%80%A8youtube bbcdefghijk")
    path = tmp_path / "archive.txt"
    Archive(path).add(key)
    assert path.read_bytes().count(b"\n") == 1
    again = Archive(path)
    assert key in again
    assert "youtube abcdefghijk" not in again
    with pytest.raises(ValueError, match="is not one line"):
        again.add("youtube x\nyoutube y")


def test_archive_without_a_last_newline_keeps_its_last_line(tmp_path):
    path = tmp_path / "archive.txt"
    path.write_text("youtube abcdefghijk")
    Archive(path).add("youtube bbcdefghijk")
    assert path.read_text() == "youtube abcdefghijk\nyoutube bbcdefghijk\n"


@pytest.mark.parametrize("length", range(19))
def test_key_that_a_crash_cut_off_is_written_again(tmp_path, length):
    path = tmp_path / "archive.txt"
    path.write_text("youtube abcdefghijk\n" + "youtube bbcdefghijk"[:length])
    Archive(path).add("youtube bbcdefghijk")
    assert path.read_text() == "youtube abcdefghijk\nyoutube bbcdefghijk\n"


def test_file_ids_differ_when_keys_do():
    page = {"extractor_key": "Generic", "id": "show", "original_url": "https://a.example/1/show.wav"}
    videos = [page, page | {"original_url": "https://a.example/2/show.wav"}]
    videos += [{"extractor_key": site, "id": "12345678901"} for site in ("Vimeo", "Other", "Youtube")]
    videos += [{"extractor_key": "Vimeo", "id": "x" * 100 + end} for end in "ab"]
    ids = [file_id(video) for video in videos]
    assert len(set(ids)) == len(videos)
    assert ids[4] == "12345678901", "the id alone, as before"
    assert all(
        has_file_id(file_name("t", name, "x")[:-2], video["id"]) for name, video in zip(ids, videos, strict=True)
    )
    assert not has_file_id("t [other]", "show")


def test_language_is_that_of_the_original_track():
    tracks = [{"language": "de", "language_preference": -1}, {"language": "en", "language_preference": 10}, {}]
    assert spoken_language({"formats": tracks}) == "en"
    assert spoken_language({"formats": tracks, "language": "fr"}) == "fr"
    assert spoken_language({"formats": []}) is None


# --- rate limits ---


def test_schedule_keeps_its_interval():
    schedule = Schedule(5.0)
    assert [schedule.reserve(now) for now in (100.0, 100.0, 100.0, 200.0, 201.0)] == [100.0, 105.0, 110.0, 200.0, 205.0]


@pytest.mark.parametrize("gap_s", [0.0, 1.0, 5.0, 15.0, 60.0])
def test_at_most_250_videos_per_hour(gap_s):
    schedule, now, starts = Schedule(gap_s), 0.0, []
    for _ in range(1200):
        now = schedule.reserve(now)
        starts.append(now)
    assert all(late - early >= 3600.0 for early, late in zip(starts, starts[VIDEOS_PER_HOUR:], strict=False))
    assert all(late - early >= gap_s for early, late in pairwise(starts))
    if gap_s == 0.0:
        assert starts[:VIDEOS_PER_HOUR] == [0.0] * VIDEOS_PER_HOUR


def test_rate_limiter_sleeps_the_remaining_time():
    slept = []
    pacer = RateLimiter(Schedule(5.0), sleep=slept.append, clock=lambda: 10.0)
    for _ in range(3):
        pacer.wait()
    assert slept == [5.0, 10.0]


# --- targets ---


def test_mixed_sources_give_each_video_once(tmp_path):
    made = tmp_path / "videos.json"
    made.write_text('\ufeff{"results": [{"url": "https://youtu.be/abcdefghijk"}, {"url": "https://a.example/x"}]}')
    found = read_targets([str(made), "abcdefghijk", "https://www.youtube.com/watch?v=ABCDEFGHIJK"])
    assert [one.item for one in found] == ["abcdefghijk", "https://a.example/x", "ABCDEFGHIJK"]
    assert [one.key for one in found] == ["youtube abcdefghijk", None, "youtube ABCDEFGHIJK"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.json", "is not a file, a URL or a video id"),
        ("", "is not a file|is a folder"),
        ("x" * 5000, "is not a file"),
        ("a\0b", "is not a file"),
    ],
)
def test_invalid_sources(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        read_targets([source])


def test_result_with_an_invalid_url_is_named(tmp_path):
    (tmp_path / "v.json").write_text('{"results": [{"url": "https://a.example/x"}, {"url": "see above"}]}')
    with pytest.raises(InputError, match=r"results\[1\]: field `url` is not a URL"):
        read_targets([str(tmp_path / "v.json")])
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not text"):
        read_targets([str(tmp_path / "b.json")])


def test_same_seed_gives_the_same_shuffle():
    wanted = [DownloadTarget(f"v{n}", "") for n in range(20)]
    assert choose(wanted, count=3) == wanted[:3]
    first = choose(wanted, shuffle=True, seed=1)
    assert first == choose(wanted, shuffle=True, seed=1)
    assert first != choose(wanted, shuffle=True, seed=2)
    assert sorted(first, key=lambda one: int(one.item[1:])) == wanted
    assert choose(wanted, shuffle=True, seed=1, count=5) == first[:5]


def test_archive_of_others_is_refused(tmp_path):
    path = tmp_path / "archive.txt"
    path.write_text("minutes of a meeting\n")
    with pytest.raises(InputError, match="is not a list of downloads: it has 'minutes of a meeting'"):
        Archive(path)
    path.write_text("# mine\ngeneric http://a/b c.wav\n")
    assert "generic http://a/b c.wav" in Archive(path)

"""`sca browse` on real data sets: the same rows for all formats, access, rows left out of builds, and the page in Chromium."""

import io
import json
import threading
from pathlib import Path

import fsspec
import pytest
import soundfile
import uvicorn
from playwright.sync_api import sync_playwright
from starlette.testclient import TestClient

from sca.browse.app import make_app, marks_path, open_browser
from sca.browse.messages import RowsRequest
from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from sca.infer.server.app import connection_limits
from sca.infer.server.transport.uvicorn_server import listen, server_config
from tests.helpers import corpus
from tests.helpers.browser import FLAGS, OVERFLOWING, PALE, UNLABELED, find_chromium
from tests.helpers.command import sca
from tests.helpers.timeouts import until

NASTY = '</script> <img src=x onerror="window.hacked=1"> {{player}} & "quoted"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sessions as a data set and its exports, one of them at a URL; and another build with a shorter window."""
    root = tmp_path_factory.mktemp("browse")
    for name in ("A0001_S0001_0", "A0002_S0002_0"):
        corpus.pair(root / "corpus", name, 12.0)
    corpus.write_track(root / "corpus", "B0001_S0001_0_G0003", [(1.0, 3.0, NASTY)], 6.0)
    corpus.write_track(root / "corpus", "B0001_S0001_0_G0004", [(2.0, 4.5, "wait a moment please")], 6.0)
    build_duplex(root / "corpus", root / "data", corpus.settings(tags="keep"))
    for kind in ("parquet", "webdataset"):
        export(root / "data", root / kind, kind, shard_bytes=10_000_000)
    fsspec.filesystem("memory").put(str(root / "parquet"), "/browse-rows", recursive=True)
    return root


@pytest.fixture(scope="module")
def settings(folder):
    return load_settings(overrides={"paths.cache_dir": str(folder / "cache")}, env={})


def browser(folder, name="data", against=None, drops=None):
    return open_browser(str(name), against, drops or folder / "unused.jsonl", folder / "cache")


def client(opened, settings, host="127.0.0.1", **options):
    return TestClient(make_app(opened, settings), base_url=f"http://{host}:8000", **options)


def test_all_formats_have_the_same_rows_views_and_sound(folder):
    found = {}
    for name in (folder / "data", folder / "parquet", folder / "webdataset", "memory://browse-rows"):
        opened = browser(folder, name)
        rows = opened.rows(RowsRequest())["rows"]
        views = [opened.row("here", row["row_id"])["view"] for row in rows]
        sound, rate = soundfile.read(io.BytesIO(opened.sound("here", rows[0]["row_id"])))
        found[str(name)] = (
            rows,
            [(view["sides"], view["segments"], view["duration_s"]) for view in views],
            (sound.shape, rate),
        )
    expected, *others = found.values()
    assert [row["row_id"] for row in expected[0]] == [load(folder / "data").record(n)["row_id"] for n in range(6)]
    assert all(other == expected for other in others)


def test_values_are_those_of_the_rows(folder):
    data, rows = load(folder / "data"), browser(folder, folder / "data").rows(RowsRequest())["rows"]
    report = json.loads((folder / "data" / "report.json").read_text())
    in_speech = {(track["session"], track["speaker"]): track["words_in_own"] for track in report["evidence"]["tracks"]}
    shares = {one["session"]: one["share"] for one in report["bleed"]["sessions"]}
    for number, row in enumerate(rows):
        record = data.record(number)
        segments = record["segments"]
        assert row["words"] == sum(segment["n_words"] for segment in segments)
        assert row["seconds"] == pytest.approx(record["n_chunks"] * 0.32)
        assert row["lag_s"] == pytest.approx(max(segment["lag_chunks"] for segment in segments) * 0.32)
        assert (row["flags"], row["align_source"]) == (record["flags"], record["align_source"])
        assert row["words_in_speech"] == in_speech[record["session_id"], record["speaker"]]
        assert row["bleed"] == shares[record["session_id"]]
        assert set(row["kinds"]) == {segment["kind"] for segment in segments}


def test_index_is_stored_and_made_again_when_the_data_changes(folder, tmp_path):
    root = corpus.copy_of(folder / "data", tmp_path / "data")
    open_browser(str(root), None, tmp_path / "drops.jsonl", tmp_path / "cache")
    (stored,) = (tmp_path / "cache" / "browse").iterdir()
    before = stored.stat().st_mtime_ns
    open_browser(str(root), None, tmp_path / "drops.jsonl", tmp_path / "cache")
    assert stored.stat().st_mtime_ns == before
    report = json.loads((root / "report.json").read_text())
    report["evidence"]["findings"] = [
        {"kind": "no_speech", "session": "A0001_S0001_0", "speaker": "G0001", "at_s": 1.0, "message": "", "repair": ""}
    ]
    (root / "report.json").write_text(json.dumps(report))
    rows = open_browser(str(root), None, tmp_path / "drops.jsonl", tmp_path / "cache").rows(RowsRequest())["rows"]
    assert [row["row_id"] for row in rows if row["findings"] == ["no speech"]] == ["A0001_S0001_0:G0002>G0001:000000"]


def test_what_is_not_a_data_set_is_refused(folder, tmp_path):
    done = sca("browse", tmp_path)
    assert (done.returncode, "settings.json" in done.stderr) == (5, True)
    assert sca("browse", folder / "data", "--host", "0.0.0.0").returncode == 3
    done = sca("browse", folder / "data", "A0001_S0001_0:G0002>G0001:00000", "--port", 0)
    assert (done.returncode, "similar: A0001_S0001_0:G0002..G0001:000000" in done.stderr) == (2, True)
    assert marks_path("hf://datasets/owner/name/") == Path("name.drops.jsonl")


def test_server_checks_key_host_and_origin(folder, settings):
    opened = browser(folder, folder / "data")
    with client(opened, settings) as http:
        page = http.get("/")
        assert (page.status_code, "default-src 'none'" in page.headers["content-security-policy"]) == (200, True)
        assert http.get("/api/info", headers={"Host": "evil.example"}).status_code == 421
        assert http.get("/api/info", headers={"Origin": "https://evil.example"}).status_code == 403
        assert http.post("/api/marks", json={"rows": ["nothing"], "mark": "drop"}).status_code == 400
        assert http.post("/api/rows", json={"sort": "nothing"}).json()["error"]["status"] == 400
        assert http.post("/api/rows", json={"limit": 10**9}).status_code == 422
        assert http.post("/api/rows", json={"build": "there"}).status_code == 400
    with_key = load_settings(overrides={"serve.auth_key": "secret"}, env={})
    with client(opened, with_key) as http:
        assert (http.get("/").status_code, http.get("/api/info").status_code) == (200, 401)
        assert http.get("/api/info", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_build_leaves_out_listed_rows_and_brings_them_back(folder, tmp_path):
    root, drops = corpus.copy_of(folder / "data", tmp_path / "data"), tmp_path / "drops.jsonl"
    opened = browser(folder, root, drops=drops)
    with client(opened, load_settings(env={})) as http:
        half = {"choices": {"speaker": ["G0003", "G0004"]}}
        assert http.post("/api/marks", json={"filter": half, "mark": "drop"}).json()["drop"] == 2
        assert (
            http.post("/api/marks", json={"rows": ["A0001_S0001_0:G0002>G0001:000000"], "mark": "drop"}).json()["drop"]
            == 3
        )
    before = json.loads((root / "report.json").read_text())

    def built(**settings):
        return build_duplex(folder / "corpus", root, corpus.settings(tags="keep", **settings)).details

    details = built(drops=str(drops))
    report = details.report
    assert (details.built, report.rows, report.coverage.rows_left_out, details.notices) == (2, 3, 3, [])
    assert {row.row_id for row in report.left_out_rows} == opened._marks.of.keys()
    kept = [load(root).record(n)["row_id"] for n in range(3)]
    assert kept == [
        "A0001_S0001_0:G0001>G0002:000000",
        *(f"A0002_S0002_0:{side}:000000" for side in ("G0002>G0001", "G0001>G0002")),
    ]
    assert verify(root).problems == []
    export(root, tmp_path / "parquet", "parquet", shard_bytes=10_000_000)
    assert verify(tmp_path / "parquet").problems == []
    changed = browser(folder, root, against=str(folder / "data"))
    assert changed.info()["against"]["changes"] == {"same": 3, "changed": 0, "added": 0, "removed": 3}
    assert (built(drops=str(drops)).built, built().built) == (0, 2)
    assert json.loads((root / "report.json").read_text()) == before


def test_verify_finds_missing_rows_that_are_not_listed(folder, tmp_path):
    root, drops = corpus.copy_of(folder / "data", tmp_path / "data"), tmp_path / "drops.jsonl"
    drops.write_text('{"row_id": "A0001_S0001_0:G0002>G0001:000000", "mark": "drop"}\n')
    build_duplex(folder / "corpus", root, corpus.settings(tags="keep", drops=str(drops)))
    report = json.loads((root / "report.json").read_text())
    (row,) = report["left_out_rows"]
    for wrong in ([], [row | {"words": row["words"] - 1}], [row | {"chunks": row["chunks"] + 1}], [row, row]):
        (root / "report.json").write_text(json.dumps(report | {"left_out_rows": wrong}))
        assert verify(root).problems


def test_rows_on_a_list_that_do_not_exist_are_a_notice(folder, tmp_path):
    root, drops = corpus.copy_of(folder / "data", tmp_path / "data"), tmp_path / "drops.jsonl"
    drops.write_text('{"row_id": "A0001_S0001_0:G0002>G0001:000007", "mark": "drop"}\n')
    done = sca("build-duplex", folder / "corpus", "-o", root, "--set", "duplex.tags=keep", "--drops", drops)
    assert (done.returncode, "1 row on the list cannot be left out" in done.stderr) == (0, True)
    assert sca("build-duplex", folder / "corpus", "-o", root, "--drops", tmp_path / "none.jsonl").returncode == 5


@pytest.fixture
def url(folder, settings, tmp_path):
    """The address of a server that compares two builds and writes its marks to `tmp_path`."""
    opened = browser(folder, folder / "data", against=str(folder / "webdataset"), drops=tmp_path / "drops.jsonl")
    with listen("127.0.0.1", 0) as listener:
        config = server_config(make_app(opened, settings), connection_limits(settings.serve, lambda status: None))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_page_filters_sorts_plays_marks_and_undoes(url, tmp_path, folder):
    drops = tmp_path / "drops.jsonl"
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=find_chromium(), args=list(FLAGS), timeout=120_000)
        page = chromium.new_page(viewport={"width": 1300, "height": 900}, color_scheme="dark")
        page.set_default_timeout(120_000)
        messages, requested = [], []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        rows = page.locator("#rows tr.row")
        assert (rows.count(), page.text_content("#count")) == (6, "6 of 6 rows, 0.02 h")
        page.fill("#search", "WAIT A moment")
        page.wait_for_selector("#count:has-text('1 of 6')")
        assert "wait a moment please" in rows.first.text_content()
        page.click("#clear")
        page.wait_for_selector("#count:has-text('6 of 6')")
        page.click("#plot-speaker .names button:has-text('G0003')")
        page.wait_for_selector("#count:has-text('1 of 6')")
        page.keyboard.press("j")
        page.wait_for_selector("html[data-row='B0001_S0001_0:G0004>G0003:000000']")
        assert NASTY in page.text_content("#segments")
        page.keyboard.press(" ")
        until(lambda: page.evaluate("document.getElementById('sound').currentTime > 0"))
        page.click("#chips button")
        page.wait_for_selector("#count:has-text('6 of 6')")
        _brush(page, "words")
        page.wait_for_selector("#chips button:has-text('Words')")
        assert rows.count() < 6
        page.click("#clear")
        page.wait_for_selector("#count:has-text('6 of 6')")
        page.click("#head button:has-text('Words'):not(:has-text('in'))")
        page.wait_for_selector("#head [aria-sort=ascending]")
        page.keyboard.press("j")
        page.keyboard.press("d")
        page.wait_for_selector("html[data-marks='1']")
        assert len(drops.read_text().splitlines()) == 1
        assert page.locator("#rows tr.drop").count() == 1
        page.keyboard.press("u")
        page.wait_for_selector("html[data-marks='0']")
        assert drops.read_text() == ""
        for scheme, width in (("dark", 1300), ("light", 390)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 844})
            # The table and the timeline scroll in a box of their own.
            wide = page.evaluate(OVERFLOWING.replace('.matches(".skip")', '.closest(".skip, .grid, #strip")'))
            assert (page.evaluate(UNLABELED), page.evaluate(PALE), wide) == ([], [], [])
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("window.hacked") is None
        assert all(address.startswith((url, "blob:", "data:")) for address in requested)
        assert messages == []
        chromium.close()


def _brush(page, name):
    """Drag over the first quarter of the bars of a number column."""
    page.locator(f"#plot-{name}").scroll_into_view_if_needed()
    box = page.locator(f"#plot-{name} svg").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.up()

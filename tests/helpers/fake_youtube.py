"""A small YouTube on the loopback interface, behind a proxy that terminates TLS; for use with the real yt-dlp.

Give yt-dlp `proxy=fake.url` and `nocheckcertificate=True`. `faults` are consumed from the front, per key: "search" (a
status), ("player", id), ("watch", id) and ("media", id); for media also "truncate" and "stall".
"""

import http.server
import json
import re
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import imageio_ffmpeg

PAGE = 20
CREATIVE_COMMONS = "Creative Commons Attribution licence (reuse allowed)"
MIMES = {
    ".webm": (251, 'audio/webm; codecs="opus"'),
    ".m4a": (140, 'audio/mp4; codecs="mp4a.40.2"'),
    ".mp4": (136, 'video/mp4; codecs="avc1.4d401f"'),
}


@dataclass
class Video:
    id: str
    title: str
    seconds: float = 66.0
    channel: int = 0
    views: int = 1000
    uploaded: str = "2023-05-01T04:05:06-07:00"
    licence: str | None = None
    language: str | None = None
    live: bool = False
    unavailable: str | None = None
    status: str = "ERROR"
    sabr: bool = False
    files: tuple[Path, ...] = ()


@dataclass
class Request:
    method: str
    host: str
    path: str
    video: str | None
    range: str | None


@dataclass
class Site:
    """What the server serves, and the requests it received.

    Attributes:
        found: The ids that a search returns, in order.
        faults: See the module.
        log: The requests.
        subtitles: The HTTP status of a request for subtitles; None if videos have none.
    """

    videos: dict[str, Video] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    faults: dict[object, list[object]] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    subtitles: int | None = None

    def add(self, videos: Iterable[Video]) -> None:
        for video in videos:
            self.videos[video.id] = video
            self.found.append(video.id)

    def requests_to(self, host: str, path: str = "", video: str | None = None) -> list[Request]:
        hits = (one for one in self.log if one.host.endswith(host) and path in one.path)
        return [one for one in hits if video is None or one.video == video]

    def media(self, video: str | None = None) -> list[Request]:
        return self.requests_to("googlevideo.com", video=video)

    def fault(self, *key: object) -> object:
        waiting = self.faults.get(key if len(key) > 1 else key[0], [])
        return waiting.pop(0) if waiting else None


def runs(text: str) -> dict:
    return {"runs": [{"text": text}]}


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def renderer(video: Video) -> dict:
    channel = f"UC{video.channel:022d}"
    endpoint = {"browseEndpoint": {"browseId": channel, "canonicalBaseUrl": f"/@chan{video.channel}"}}
    made = {
        "videoId": video.id,
        "title": runs(video.title),
        "lengthText": {"simpleText": clock(video.seconds)},
        "ownerText": runs(f"Chan {video.channel}"),
        "shortBylineText": {"runs": [{"text": f"Chan {video.channel}", "navigationEndpoint": endpoint}]},
        "viewCountText": {"simpleText": f"{video.views:,} views"},
        "publishedTimeText": {"simpleText": "2 years ago"},
    }
    if video.live:
        del made["lengthText"]
        made["badges"] = [{"metadataBadgeRenderer": {"style": "BADGE_STYLE_TYPE_LIVE_NOW", "label": "LIVE"}}]
        made["thumbnailOverlays"] = [{"thumbnailOverlayTimeStatusRenderer": {"style": "LIVE", "text": runs("LIVE")}}]
    return {"videoRenderer": made}


def formats(video: Video) -> list[dict]:
    found = []
    for path in video.files:
        itag, mime = MIMES[path.suffix]
        found.append(
            {
                "itag": itag,
                "url": f"https://rr1---sn-fake.googlevideo.com/videoplayback?id={video.id}&itag={itag}&expire=9999999999",
                "mimeType": mime,
                "bitrate": 140000 if itag == 251 else 130000,
                "contentLength": str(path.stat().st_size),
                "audioSampleRate": "48000",
                "audioChannels": 2,
                "audioQuality": "AUDIO_QUALITY_MEDIUM",
                "approxDurationMs": str(int(video.seconds * 1000)),
            }
        )
        if video.sabr:
            del found[-1]["url"]
        if path.suffix == ".mp4":
            for name in ("audioSampleRate", "audioChannels", "audioQuality"):
                del found[-1][name]
            found[-1] |= {"width": 64, "height": 48, "fps": 10, "qualityLabel": "48p"}
        elif video.language:
            found[-1]["audioTrack"] = {"id": f"{video.language}.4", "displayName": "original", "audioIsDefault": True}
    return found


def player(video: Video | None, subtitles: bool) -> dict:
    if video is None or video.unavailable:
        reason = "Video unavailable" if video is None else video.unavailable
        return {"playabilityStatus": {"status": video.status if video else "ERROR", "reason": reason}}
    made = {
        "playabilityStatus": {"status": "OK", "playableInEmbed": True},
        "videoDetails": {
            "videoId": video.id,
            "title": video.title,
            "lengthSeconds": str(int(video.seconds)),
            "channelId": f"UC{video.channel:022d}",
            "author": f"Chan {video.channel}",
            "shortDescription": "a conversation",
            "viewCount": str(video.views),
            "isLiveContent": video.live,
            "isLive": video.live,
        },
        "streamingData": {"expiresInSeconds": "21540", "adaptiveFormats": formats(video)},
        "microformat": {
            "playerMicroformatRenderer": {
                "uploadDate": video.uploaded,
                "publishDate": video.uploaded,
                "category": "Comedy",
                "lengthSeconds": str(int(video.seconds)),
                "externalChannelId": f"UC{video.channel:022d}",
                "ownerProfileUrl": f"http://www.youtube.com/@chan{video.channel}",
            }
        },
    }
    if subtitles:
        track = {"baseUrl": f"https://www.youtube.com/api/timedtext?v={video.id}&lang=en", "languageCode": "en"}
        track |= {"name": {"simpleText": "English"}, "vssId": ".en"}
        made["captions"] = {"playerCaptionsTracklistRenderer": {"captionTracks": [track]}}
    return made


def initial_data(video: Video) -> dict:
    rows = [{"metadataRowRenderer": {"title": runs("License"), "contents": [runs(video.licence)]}}]
    container = {"metadataRowContainerRenderer": {"rows": rows if video.licence else []}}
    parts = [
        {"videoPrimaryInfoRenderer": {"title": runs(video.title)}},
        {
            "videoSecondaryInfoRenderer": {
                "owner": {"videoOwnerRenderer": {"title": runs(f"Chan {video.channel}")}},
                "metadataRowContainer": container,
            }
        },
    ]
    return {"contents": {"twoColumnWatchNextResults": {"results": {"results": {"contents": parts}}}}}


CONFIG = {
    "INNERTUBE_CONTEXT": {"client": {"hl": "en", "gl": "US", "clientName": "WEB", "clientVersion": "2.20260101.00.00"}},
    "INNERTUBE_CONTEXT_CLIENT_NAME": 1,
    "VISITOR_DATA": "CgtmYWtl",
    "PLAYER_JS_URL": "/s/player/0004de42/player_ias.vflset/en_US/base.js",
    "STS": 20400,
}


def watch_page(video: Video, subtitles: bool) -> str:
    return (
        f"<html><head><title>{video.id} - YouTube</title></head><body>"
        f"<script>ytcfg.set({json.dumps(CONFIG)});</script>"
        f"<script>var ytInitialPlayerResponse = {json.dumps(player(video, subtitles))};</script>"
        f"<script>var ytInitialData = {json.dumps(initial_data(video))};</script></body></html>"
    )


def playlist_page(site: Site) -> dict:
    """A playlist of all videos that a search finds."""
    rows = [
        {"playlistVideoRenderer": {"videoId": name, "title": runs(site.videos[name].title), "lengthSeconds": "6"}}
        for name in site.found
    ]
    return tab_page(
        [{"itemSectionRenderer": {"contents": [{"playlistVideoListRenderer": {"contents": rows}}]}}], "List"
    )


def channel_page(site: Site) -> dict:
    """The tab of the videos of a channel."""
    rows = [{"richItemRenderer": {"content": renderer(site.videos[name])}} for name in site.found]
    return tab_page(rows, "Channel", grid=True)


def tab_page(rows: list[dict], title: str, *, grid: bool = False) -> dict:
    content = {"richGridRenderer" if grid else "sectionListRenderer": {"contents": rows}}
    tab = {"selected": True, "title": "Videos", "content": content}
    tab |= {"endpoint": {"commandMetadata": {"webCommandMetadata": {"url": "/@chan0/videos"}}}} if grid else {}
    metadata = {"channelMetadataRenderer": {"title": title, "externalId": "UC" + "0" * 22}} if grid else {}
    return {
        "contents": {"twoColumnBrowseResultsRenderer": {"tabs": [{"tabRenderer": tab}]}},
        "metadata": metadata or {"playlistMetadataRenderer": {"title": title}},
    }


def search_page(site: Site, body: dict) -> dict:
    token = body.get("continuation")
    start = int(token.split(":")[1]) if token else 0
    found = [] if body.get("query") == "nothing" else site.found
    parts: list[dict] = [
        {"itemSectionRenderer": {"contents": [renderer(site.videos[i]) for i in found[start : start + PAGE]]}}
    ]
    if start + PAGE < len(found):
        command = {"token": f"tok:{start + PAGE}", "request": "CONTINUATION_REQUEST_TYPE_SEARCH"}
        parts.append({"continuationItemRenderer": {"continuationEndpoint": {"continuationCommand": command}}})
    if token:
        return {"onResponseReceivedCommands": [{"appendContinuationItemsAction": {"continuationItems": parts}}]}
    columns = {"primaryContents": {"sectionListRenderer": {"contents": parts}}}
    return {"contents": {"twoColumnSearchResultsRenderer": columns}}


class Page(http.server.BaseHTTPRequestHandler):
    """The site, on a decrypted connection."""

    protocol_version = "HTTP/1.1"
    site: Site

    def __init__(self, connection, address, server, host, site, end):
        self.host, self.site, self.end = host, site, end
        super().__init__(connection, address, server)

    def log_message(self, *_):
        pass

    def send(self, content, status=200, kind="application/json"):
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def note(self, path, video):
        self.site.log.append(Request(self.command, self.host, path, video, self.headers.get("Range")))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        path, name = urlsplit(self.path).path, body.get("videoId")
        self.note(path, name)
        video = self.site.videos.get(name)
        if path.endswith("/search"):
            status = self.site.fault("search")
            return self.send({"error": {"code": status}}, status) if status else self.send(search_page(self.site, body))
        if path.endswith("/player"):
            status = self.site.fault("player", name)
            return self.send({}, status) if status else self.send(player(video, self.site.subtitles is not None))
        return self.send(initial_data(video) if path.endswith("/next") and video else {})

    def do_GET(self):
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        self.note(parts.path, query.get("id") or query.get("v"))
        video = self.site.videos.get(query.get("v", ""))
        if self.host.endswith("googlevideo.com"):
            self.media(query)
        elif parts.path == "/watch" and video:
            status = self.site.fault("watch", video.id)
            if status:
                self.send("no", status, "text/html")
            else:
                self.send(watch_page(video, self.site.subtitles is not None), kind="text/html; charset=utf-8")
        elif parts.path == "/playlist" and "list" in query:
            self.send_data(playlist_page(self.site))
        elif parts.path.startswith("/@chan0"):
            self.send_data(channel_page(self.site))
        elif parts.path == "/api/timedtext":
            status = self.site.subtitles or 404
            self.send("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n", status, "text/vtt")
        elif parts.path.startswith("/s/player/"):
            self.send("var x={signatureTimestamp:20400};", kind="text/javascript")
        elif self.host == "i.ytimg.com":
            self.send("no", 404, "text/plain")
        else:
            self.send(f"<html><script>ytcfg.set({json.dumps(CONFIG)});</script></html>", kind="text/html")

    def send_data(self, data):
        scripts = f"ytcfg.set({json.dumps(CONFIG)});</script><script>var ytInitialData = {json.dumps(data)};"
        self.send(f"<html><body><script>{scripts}</script></body></html>", kind="text/html; charset=utf-8")

    def media(self, query):
        video = self.site.videos[query["id"]]
        path = next(one for one in video.files if str(MIMES[one.suffix][0]) == query["itag"])
        fault = self.site.fault("media", video.id)
        if isinstance(fault, int):
            self.send("no", fault, "text/plain")
            return
        size = path.stat().st_size
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        first = int(wanted[1]) if wanted else 0
        last = min(int(wanted[2]), size - 1) if wanted and wanted[2] else size - 1
        data = path.read_bytes()[first : last + 1]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Type", "audio/webm")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.write_body(data, fault)

    def write_body(self, data, fault):
        if fault in ("truncate", "stall"):
            self.wfile.write(data[: len(data) // 3])
            self.wfile.flush()
            if fault == "stall":
                self.end.wait(300)
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(data)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # clients close connections on purpose


class FakeYouTube:
    """Serves `site` until closed. A context manager."""

    def __init__(self, site: Site, folder: Path):
        self.site, self.end = site, threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(folder))
        fake = self

        class Proxy(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_CONNECT(self):
                self.send_response(200, "ok")
                self.end_headers()
                self.close_connection = True
                try:
                    with context.wrap_socket(self.connection, server_side=True) as plain:
                        host = self.path.rsplit(":", 1)[0]
                        Page(plain, self.client_address, self.server, host, fake.site, fake.end)
                except OSError:
                    pass

        self.server = Server(("127.0.0.1", 0), Proxy)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def options(self) -> list[str]:
        """Options that make a command use this site, with short waits between retries."""
        return ["--proxy", self.url, "--ytdlp-opt", "nocheckcertificate=true", "--retry-sleep", "0.01"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


def certificate(folder: Path) -> tuple[Path, Path]:
    made, key = folder / "certificate.pem", folder / "key.pem"
    if not made.exists():
        names = "subjectAltName=DNS:*.youtube.com,DNS:*.googlevideo.com,DNS:i.ytimg.com"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(made)]
        command += ["-days", "30", "-subj", "/CN=fake-youtube", "-addext", names]
        command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
        subprocess.run(command, check=True, capture_output=True)
    return made, key


def make_media(path: Path, seconds: float, pitch_hz: int = 440, rate: str = "96k") -> Path:
    """Make a webm/opus or m4a/aac file: a tone with some noise, so that its size depends on its length."""
    if path.exists():
        return path
    codec = "libopus" if path.suffix == ".webm" else "aac"
    source = f"sine=frequency={pitch_hz}:sample_rate=48000:duration={seconds}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source]
    command += ["-f", "lavfi", "-i", f"anoisesrc=amplitude=0.01:duration={seconds}:sample_rate=48000"]
    command += ["-filter_complex", "amix=inputs=2:duration=first", "-ac", "2", "-c:a", codec, "-b:a", rate]
    if codec == "libopus":
        command += ["-vbr", "off"]
    subprocess.run([*command, str(path)], check=True, capture_output=True)
    return path


def make_pictures(path: Path, seconds: float) -> Path:
    """Make an mp4 with video and without sound, as the site serves it."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi"]
    command += ["-i", f"testsrc=size=64x48:rate=10:duration={seconds}", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path

"""Replace playlists, channels and other pages of several videos by their videos.

Only the lists are read, page after page, and none of the videos. A URL that cannot be read stays a target: its download
then fails with the reason.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from sca.data.acquire.targets import DownloadTarget, parse_target
from sca.data.acquire.youtube import Site, VideoInfo, open_ydl
from sca.errors import InputError, ScaError

if TYPE_CHECKING:
    from yt_dlp import YoutubeDL

__all__ = ["expand_playlists"]

_MAX_DEPTH = 3
"""A channel has tabs, and a tab can have playlists."""


def expand_playlists(
    targets: Sequence[DownloadTarget],
    site: Site,
    *,
    limit: int | None = None,
    on_list: Callable[[str, int], None] | None = None,
) -> list[DownloadTarget]:
    """Replace each list of videos by its videos, in its order. Each video is returned once.

    Args:
        targets: Videos and lists.
        site: How to reach the site.
        limit: Read no more than this many videos in all; None reads all.
        on_list: Called with each URL that is a list, and the number of its videos.

    Raises:
        UsageError: yt-dlp does not accept its options.
    """
    if all(target.key is not None for target in targets):
        return list(targets)[:limit]
    found: dict[str, DownloadTarget] = {}
    with open_ydl(site, extract_flat=True) as ydl:
        for target in targets:
            left = None if limit is None else limit - len(found)
            if left is not None and left <= 0:
                break
            videos = [target] if _is_video(ydl, target) else _read(ydl, target, left, on_list)
            for video in videos:
                found.setdefault(video.item, video)
    return list(found.values())[:limit]


def _read(
    ydl: "YoutubeDL", target: DownloadTarget, limit: int | None, on_list: Callable[[str, int], None] | None
) -> list[DownloadTarget]:
    """Return the videos of a URL; the target itself if it is a video, or cannot be read."""
    try:
        info = ydl.extract_info(target.url, download=False, process=False)
        if info is None or not _is_list(info):
            followed = _followed(ydl, info)
            if followed is None:
                return [target]
            info = followed
        videos = list(islice(_videos(ydl, info, _MAX_DEPTH), limit))
    except ScaError:
        raise
    except Exception:  # noqa: BLE001 - the boundary of one target: its download meets the error again and records it
        return [target]
    if on_list is not None:
        on_list(target.url, len(videos))
    return videos


def _followed(ydl: "YoutubeDL", info: VideoInfo | None) -> VideoInfo | None:
    """Return the list that a page refers to, such as the tab of a channel; None if it does not refer to one."""
    for _ in range(_MAX_DEPTH):
        if info is None or info.get("_type") not in ("url", "url_transparent"):
            return None
        info = ydl.extract_info(info["url"], download=False, ie_key=info.get("ie_key"), process=False)
        if info is not None and _is_list(info):
            return info
    return None


def _videos(ydl: "YoutubeDL", info: VideoInfo, depth: int) -> Iterator[DownloadTarget]:
    """Yield the videos of a list, and of the lists in it."""
    for entry in info.get("entries") or ():
        if not entry:
            continue
        if _is_list(entry):
            yield from _videos(ydl, entry, depth - 1) if depth else ()
            continue
        try:
            target = parse_target(str(entry.get("url") or entry.get("webpage_url") or entry.get("id")))
        except InputError:
            continue
        if _is_video(ydl, target) or entry.get("_type") not in ("url", "url_transparent") or not depth:
            yield target
            continue
        inner = ydl.extract_info(target.url, download=False, process=False)
        if inner is not None and _is_list(inner):
            yield from _videos(ydl, inner, depth - 1)
        else:
            yield target


def _is_list(info: VideoInfo) -> bool:
    return info.get("entries") is not None


def _is_video(ydl: "YoutubeDL", target: DownloadTarget) -> bool:
    """Return whether a target is one video for certain, by its URL alone."""
    if target.key is not None:
        return True
    extractor = next((one for one in ydl._ies.values() if one.suitable(target.url)), None)
    return extractor is not None and extractor.is_single_video(target.url) is True

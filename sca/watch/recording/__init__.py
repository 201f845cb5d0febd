"""Recordings of `sca watch`: video with spoken commentary and subtitles, and events."""

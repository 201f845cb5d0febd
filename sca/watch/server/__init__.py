"""The server of `sca watch --serve`: HTTP endpoints, event and picture streams, and the page."""

"""The live server: full-duplex sessions with an engine over HTTP and WebSocket. Needs the extra `serve`."""

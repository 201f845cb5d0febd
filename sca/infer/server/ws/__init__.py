"""WebSocket transport: resumable connections, buffers, session slots."""

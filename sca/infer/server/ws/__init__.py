"""WebSocket sessions: resumable connections, send queues, audio codecs.

Independent of the protocols of `protocols/`.
"""

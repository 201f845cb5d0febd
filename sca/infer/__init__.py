"""Live inference: sessions, engines, audio devices, turn detection and servers."""

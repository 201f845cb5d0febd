"""Media files: ffmpeg, transcoding, enhancement."""

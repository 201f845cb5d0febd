"""Speaker diarization: who speaks when in a recording, from voice activity, speaker embeddings and clustering."""

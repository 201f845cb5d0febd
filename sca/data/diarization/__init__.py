"""Speaker diarization: the speaker of each moment of a recording, from voice activity, speaker embeddings and clustering."""

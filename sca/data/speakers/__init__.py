"""Speaker embeddings: a vector that identifies the voice in a recording, computed by a model of the user's choice."""

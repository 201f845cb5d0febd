"""What turns say about a recording of one channel: who talks alone, and overlaps separated by a model."""

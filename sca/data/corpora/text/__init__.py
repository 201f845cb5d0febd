"""Text of transcripts: encodings, tags, and what differs between writing systems."""

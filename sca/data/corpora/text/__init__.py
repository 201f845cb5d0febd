"""Text of transcripts: encodings, tags, and how words are joined."""

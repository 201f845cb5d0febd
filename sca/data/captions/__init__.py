"""Downloaded captions as a second witness: what they mark and say, against what was recognised."""

"""What is particular to coded files: stated lengths, joined streams, channel layouts."""

"""Words against sound: measurements per track, and findings derived from them."""

"""A conversation from parts: a recognizer hears, a language model answers, a voice speaks. Without devices and grids."""

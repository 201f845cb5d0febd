"""Downloaded captions as a second source: their marks and words, compared with the recognized ones."""

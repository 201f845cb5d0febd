"""Videos as pictures: files, streams and cameras, read in a child process, held for display and for the engine."""

"""The command `sca live`: its options, the terminal display, and sessions on a microphone or between files."""

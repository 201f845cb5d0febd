"""Files: written atomically, and read within bounds."""

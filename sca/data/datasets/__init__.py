"""Storage of data sets: Arrow files, dataset cards, the Hugging Face hub."""

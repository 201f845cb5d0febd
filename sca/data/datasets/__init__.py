"""Storage of data sets: Arrow files, dataset cards, uploads to the Hugging Face hub."""

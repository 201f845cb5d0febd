"""A duplex data set in the formats of others: Parquet, WebDataset, moshi, lhotse."""

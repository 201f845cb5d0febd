"""Exports of a duplex data set to the formats of other libraries: Parquet, WebDataset, moshi-finetune, lhotse, plugins."""

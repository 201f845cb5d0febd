"""Settings of folders at URLs."""

from pydantic import Field

from sca.config.sections.base import Section

__all__ = ["UrlsConfig"]


class UrlsConfig(Section):
    """How folders at URLs (`s3://`, `gs://`, `hf://`) are read and written."""

    cache_gb: float = Field(
        20.0,
        gt=0,
        le=1_000_000,
        description="Space for recordings of one URL in the cache, in GB. Those in use are kept in any case.",
    )
    upload_every_s: float = Field(
        10.0, ge=0.1, le=3600, description="Time between two rounds of uploads while a command works, in seconds."
    )

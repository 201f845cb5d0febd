"""Models that can be fetched by name: what they are, from where, with which hash, and where they are on this machine."""

from sca.models.catalog import Model, find, models
from sca.models.store import identity, resolve

__all__ = ["Model", "find", "identity", "models", "resolve"]

"""The version, said once: packaging reads it from here without importing the package."""

__version__ = "1.0.0rc1"

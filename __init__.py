"""Préau: a standards-based mail and groupware server suite over one store.

Each sub-package is a folder at the top of the repository; docs/architecture.md is the map.
"""

__version__ = "0.1.0"

"""The version of the distribution, which has both packages."""

from __future__ import annotations

__version__ = "0.1.0"

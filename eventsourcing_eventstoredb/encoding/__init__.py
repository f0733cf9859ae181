"""What events' bytes are: JSON or not, and how large when they are decompressed."""

from __future__ import annotations

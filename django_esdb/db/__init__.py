"""What must be known of databases and their connections, whichever the vendor."""

from __future__ import annotations

"""Making a projection's rows anew next to those in use, which it then replaces."""

from __future__ import annotations

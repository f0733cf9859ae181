"""Making a projection's rows anew, while a site and workers run."""

from __future__ import annotations

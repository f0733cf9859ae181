"""Events that failed: putting them aside, trying them again, discarding them."""

from __future__ import annotations

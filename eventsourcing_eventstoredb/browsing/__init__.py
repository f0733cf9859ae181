"""Looking at what lies in the store, whoever wrote it."""

from __future__ import annotations

"""The protocol's services: from requests to the engine, and back."""

from __future__ import annotations

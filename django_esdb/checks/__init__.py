"""System checks: of what cannot work, and of what should not be in production."""

from __future__ import annotations

from django_esdb.checks.configuration import TAG, check_all
from django_esdb.checks.deployment import check_deployment

__all__ = ["TAG", "check_all", "check_deployment"]

"""Where pages of an admin site are."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import NoReverseMatch, reverse


def link_to(site: admin.AdminSite, name: str, *args: Any, **query: Any) -> str:
    """
    Return the address of a page; empty on a site that has no such pages.

    Args:
        name: Such as ``django_esdb_failedevent_change``.
        args: What is in its path.
        query: What it is asked for.
    """
    try:
        page = reverse(f"admin:{name}", args=args, current_app=site.name)
    except NoReverseMatch:
        return ""
    return f"{page}?{urlencode(query)}" if query else page

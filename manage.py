#!/usr/bin/env python
from __future__ import annotations

import os
import sys

from example_project.needed_packages import what_is_missing

if __name__ == "__main__":
    if missing := what_is_missing():
        sys.exit(missing)
    # It may be what is missing.
    from django.core.management import execute_from_command_line

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    execute_from_command_line(sys.argv)

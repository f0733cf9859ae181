from __future__ import annotations

import sys

from example_project.__main__ import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m realtime_client`` is the command ``realtime-client``."""

from __future__ import annotations

import sys

from realtime_client.cli import main

if __name__ == "__main__":
    sys.exit(main())

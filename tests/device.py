"""The device that tests of families and of the runner use: `ATELIER_TEST_DEVICE=cuda make test-gpu`."""

from __future__ import annotations

import os

DEVICE = os.environ.get("ATELIER_TEST_DEVICE", "cpu")

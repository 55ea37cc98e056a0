# SPDX-License-Identifier: MIT
"""Integration tests drive the real binary; what they use is in tests/support."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

pytest_plugins = ["weir_fixtures"]

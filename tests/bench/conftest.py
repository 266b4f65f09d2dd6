"""Makes `bench` importable, as it is for ``python -m bench.NAME`` in the project's folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

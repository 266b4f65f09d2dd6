"""Damages stored boosters in ways that keep them well written, loads them and predicts.

Run in a process of its own: what is not noticed ends it. ``python boosters_damage.py N SEED``
prints how many of N a library were refused and how many answered.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from lightgbm import LGBMClassifier
from xgboost import XGBClassifier

from renewal.core.errors import Invalid
from renewal.models.boosters import BoosterAdapter
from renewal.models.boosters_bytes import from_bytes, to_bytes
from renewal.models.lightgbm import LightGbmAdapter
from renewal.models.xgboost import XgboostAdapter

_RNG = np.random.default_rng(0)
_N = 300
_TEXTS = _RNG.choice([f"airport {at}" for at in range(12)], _N)
_X = _RNG.normal(size=_N)
ROWS = pa.table({"x": _X, "airport": _TEXTS, "y": _RNG.normal(size=_N)})
LABELS = np.array(
    np.select([_X < -0.5, _TEXTS < "airport 2"], ["a", "b"], "c").tolist(), dtype=object
)
_STRANGE = ("-1", "0", "1", "3", "100000000", "-100000000", "4294967295", "nan", "", "x", "1e400")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def damaged_text(text: str, rng: random.Random) -> str:
    """Change a number, drop a line or double it."""
    lines = text.split("\n")
    end = lines.index("end of trees")
    at = rng.randrange(end + 1)
    way = rng.random()
    if way < 0.1:
        del lines[at]
    elif way < 0.2:
        lines.insert(at, lines[rng.randrange(end)])
    else:
        end_of_line = len(lines[at])
        spots = [spot.span() for spot in _NUMBER.finditer(lines[at])]
        start, stop = rng.choice(spots or [(end_of_line, end_of_line)])
        lines[at] = lines[at][:start] + rng.choice(_STRANGE) + lines[at][stop:]
    settled = "\n".join(lines)
    if rng.random() < 0.9:
        # The sizes as the reader wants them, so that the damage reaches the trees.
        start, stop = settled.find("\nTree="), settled.find("\nend of trees")
        blocks = re.split(r"(?=^Tree=\d)", settled[start + 1 : stop + 1], flags=re.MULTILINE)[1:]
        sizes = " ".join(str(len(block)) for block in blocks)
        settled = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", settled, flags=re.MULTILINE)
    return settled


def damaged_json(model: Any, rng: random.Random) -> Any:
    """Change, drop or double one value anywhere."""
    spots: list[tuple[Any, Any]] = []

    def walk(held: Any) -> None:
        entries = held.items() if isinstance(held, dict) else enumerate(held)
        for key, value in entries:
            spots.append((held, key))
            if isinstance(value, (dict, list)):
                walk(value)

    walk(model)
    held, key = rng.choice(spots)
    way = rng.random()
    if way < 0.1:
        del held[key]
    elif way < 0.2 and isinstance(held, list):
        held.append(held[key])
    elif isinstance(held[key], str):
        held[key] = rng.choice(_STRANGE)
    else:
        held[key] = rng.choice([-1, 0, 1, 3, 100_000_000, -100_000_000, 4_294_967_295, [], "x"])
    return model


def tried(adapter: BoosterAdapter, data: bytes) -> str:
    """Load, predict, and say what came of it."""
    try:
        adapter.predict(adapter.load(data), ROWS)
    except Invalid:
        return f"{adapter.name} refused"
    return f"{adapter.name} answered"


def main() -> None:
    """Damage both libraries' models, and print what came of it."""
    n_times, rng = int(sys.argv[1]), random.Random(int(sys.argv[2]))
    found: Counter[str] = Counter()
    light, extreme = LightGbmAdapter(), XgboostAdapter()
    recipe = LGBMClassifier(n_estimators=2, n_jobs=1, max_cat_to_onehot=1, min_data_per_group=2)
    header, payload = from_bytes(light.dump(light.fit(recipe, ROWS, LABELS)), who="a test")
    for _ in range(n_times):
        found[tried(light, to_bytes(header, damaged_text(payload.decode(), rng).encode()))] += 1
    booster = XGBClassifier(n_estimators=2, n_jobs=1, max_cat_to_onehot=1)
    fitted = extreme.fit(booster, ROWS, LABELS)
    header, payload = from_bytes(extreme.dump(fitted), who="a test")
    for _ in range(n_times):
        model = damaged_json(json.loads(payload), rng)
        found[tried(extreme, to_bytes(header, json.dumps(model).encode()))] += 1
    sys.stdout.write(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    main()

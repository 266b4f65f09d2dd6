"""skops comes without torch.

Breaks when importing the adapter of scikit-learn imports torch again, which costs every worker
and server 175 MB, or when the folder that is passed over stays missing afterwards.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed here")


def ran(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@needs_torch
def test_the_adapter_does_without_torch_and_leaves_it_importable() -> None:
    said = ran(
        "import sys, renewal.models.sklearn\n"
        "print('torch' in sys.modules, 'skops.io' in sys.modules)\n"
        "import skops.io._trusted_types as listed\n"
        "from sklearn.utils import all_estimators\n"
        "names = {f'{c.__module__}.{c.__name__}' for _, c in all_estimators()}\n"
        "print(names - set(listed.SKLEARN_ESTIMATOR_TYPE_NAMES))\n"
        "import sklearn.externals.array_api_compat.torch as shim\n"
        "print('torch' in sys.modules, shim.__name__)"
    )
    assert said.splitlines() == [
        "False True",
        "set()",
        "True sklearn.externals.array_api_compat.torch",
    ]


@needs_torch
def test_what_is_passed_over_is_what_brings_torch_in() -> None:
    """When this fails skops or scikit-learn walks another way, and the detour can go."""
    assert ran("import sys, skops.io\nprint('torch' in sys.modules)") == "True"

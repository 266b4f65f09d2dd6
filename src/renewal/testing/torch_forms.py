"""Small networks that techniques are asked to make smaller."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa

from renewal.models.layers import Tuning
from renewal.models.torch_model import TorchModel
from renewal.testing.forms import FormCase, fitted_case, numbers
from renewal.testing.torch_nets import TRUST, Dense, Pixels


@cache
def torch_forms() -> tuple[FormCase, ...]:
    """Return a dense network with a normalization, and a convolution over small pictures."""
    how = Tuning(epochs=3, batch=32, patience=None)
    dense = TorchModel(Dense, {"n_inputs": 6, "width": 64}, how=how)
    pictures = TorchModel(Pixels, {"width": 16}, how=how)
    features, labels = numbers(240)
    shown = np.random.default_rng(0).normal(size=(90, 3, 8, 8)).astype(np.float32)
    shown += (labels[:90] == "yes")[:, np.newaxis, np.newaxis, np.newaxis]
    pixels = pa.table({"picture": pa.FixedShapeTensorArray.from_numpy_ndarray(shown)})
    return (
        fitted_case("dense", "torch", dense, features, labels, trust=TRUST),
        fitted_case("pictures", "torch", pictures, pixels, labels[:90], trust=TRUST),
    )

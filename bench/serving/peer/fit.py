"""Run by a peer's own Python: fit the model on the shared data and write it as the peer wants it.

``fit.py DATA.npz MODEL N_TREES FOLDER FORM``; the form is ``joblib`` or ``mlflow``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression


def main() -> None:
    """Fit one model, the same as everybody's."""
    data, name, n_trees, folder, form = sys.argv[1:]
    found = np.load(data)
    if name == "logistic":
        model = LogisticRegression()
    else:
        model = RandomForestClassifier(int(n_trees), random_state=0, n_jobs=1)
    model.fit(found["x"], found["y"])
    if form == "mlflow":
        importlib.import_module("mlflow.sklearn").save_model(
            model, folder, skops_trusted_types=["sklearn.tree._tree.Tree"]
        )
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    importlib.import_module("joblib").dump(model, Path(folder) / "model.joblib")


if __name__ == "__main__":
    main()

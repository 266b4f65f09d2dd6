"""`import renewal` costs nothing, and a framework is imported where its name says so."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import renewal

# What `import renewal` must not load: each costs 0.05 to 3 seconds.
HEAVY = ("numpy", "scipy", "sklearn", "skops", "pyarrow", "pandas", "sqlalchemy", "deltalake",
         "msgspec", "typer", "rich", "uvicorn", "torch")  # fmt: skip

# Which packages the rooms build on. What is in no list is refused everywhere, unless the
# file bears the framework's name (models/torch.py or models/torch_loop.py may import torch).
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "stats": {"numpy", "scipy"},
    "store": {"blake3"},
    "registry": {"sqlalchemy", "alembic", "msgspec"},
    "models": {"numpy", "pyarrow"},
    "engine": set(),
    "data": {"numpy", "pyarrow", "deltalake", "sqlalchemy"},
    "evaluate": {"numpy", "pyarrow", "sqlalchemy"},
    "update": {"numpy", "pyarrow"},
    "compress": {"numpy", "pyarrow", "sqlalchemy"},
    "monitor": {"numpy", "pyarrow", "scipy", "sqlalchemy", "msgspec"},
    "gate": {"numpy", "sqlalchemy"},
    "rollout": {"numpy", "sqlalchemy", "msgspec"},
    "serve": {"numpy", "pyarrow", "msgspec", "uvicorn", "httptools"},
    "loop": {"numpy", "sqlalchemy", "msgspec"},
    "assemble": {"msgspec", "numpy", "pyarrow", "sqlalchemy"},
    "cli": {"typer", "rich", "numpy", "pandas", "pyarrow", "msgspec"},
    "testing": {"numpy", "pyarrow", "sklearn"},
}

# What the files that bear a framework's name may import beside it: models/sklearn_bytes.py
# may import scikit-learn and what writes and feeds its estimators.
COMPANIONS: dict[str, set[str]] = {
    "grpc": {"google", "grpc"},
    "onnx": {"google", "onnx", "onnxmltools", "onnxruntime", "skl2onnx"},
    "pillow": {"PIL"},
    "peft": {"peft", "torch"},
    "prometheus": {"prometheus_client"},
    "river": {"pandas", "river"},
    "sklearn": {"sklearn", "skops", "pandas", "scipy"},
    "torch": {"onnx", "onnxscript", "torch", "torch_pruning"},
    "transformers": {"onnx", "onnxscript", "transformers", "tokenizers", "safetensors", "torch"},
}

# Files that need a framework beyond their room, and why.
FILES: dict[str, set[str]] = {
    # The demo's data, model, tables and page; `renewal demo` alone loads them.
    "renewal.cli.demo_charts": {"altair"},
    "renewal.cli.demo_model": {"sklearn"},
    "renewal.cli.demo_scores": {"sklearn"},
    # The card of a verdict as a page; `renewal report` alone loads it.
    "renewal.gate.card.page": {"vl_convert"},
    # A linear model on what each base sees; only a fine-tuning that chooses its base runs it.
    "renewal.update.probe": {"sklearn"},
    # A server of its own for tests on PostgreSQL.
    "renewal.testing.postgres": {"sqlalchemy"},
}


def test_importing_renewal_loads_nothing_heavy() -> None:
    """Breaks when a name of the face is imported eagerly; a timing would only flicker."""
    program = "import sys, renewal; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(ran.stdout.split())
    assert "renewal" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_rooms_import_only_what_their_job_needs(
    imports: dict[str, list[tuple[str, int]]],
) -> None:
    """Breaks when, say, core imports numpy, stats pandas, or the loop scikit-learn."""
    wrong = []
    for module, found in imports.items():
        parts = module.split(".")
        allowed = ALLOWED[parts[1]] | FILES.get(module, set()) if len(parts) > 1 else set()
        for target, line in found:
            package = target.partition(".")[0]
            if package == "renewal" or package in sys.stdlib_module_names:
                continue
            named = parts[-1].partition("_")[0]
            if package not in allowed | COMPANIONS.get(named, {named}):
                wrong.append(f"{module}:{line} imports {package}")
    assert not wrong, "\n".join(wrong)


def test_the_table_has_no_stale_excuse(imports: dict[str, list[tuple[str, int]]]) -> None:
    """Breaks when a file no longer needs what the table allows it."""
    stale = []
    for module, packages in FILES.items():
        used = {target.partition(".")[0] for target, _line in imports.get(module, [])}
        stale += [f"{module}: {package}" for package in sorted(packages - used)]
    assert not stale, "\n".join(stale)


def test_no_import_hides_inside_a_function(texts: dict[str, str]) -> None:
    """Breaks on a silenced PLC0415: the plug-in table is how a file is loaded lazily."""
    hidden = [name for name, text in texts.items() if "PLC0415" in text]
    assert not hidden, "\n".join(hidden)


def test_the_face_is_sorted_and_every_name_resolves() -> None:
    names = renewal.__all__
    assert list(names) == sorted(names)
    assert set(renewal._FACE) == set(names)
    for name in names:
        assert getattr(renewal, name) is not None
        assert import_module(renewal._FACE[name]).__name__ == renewal._FACE[name]
    with pytest.raises(AttributeError, match="no attribute 'shut'"):
        _ = renewal.shut

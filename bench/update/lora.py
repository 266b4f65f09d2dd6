"""A LoRA update of a transformer with a billion random weights, against a bare PEFT loop.

The base lies in a store as a registered version does. One process loads it, fine-tunes it by
the adapter, registers the version and attaches it to a second copy of the base, as a server
would; another does the same steps with PEFT and torch alone. Each says its peak while it
trains: of the GPU's memory where there is one, else of the process, less what its imports took.
What loading the base took is said beside it.

Run it as ``python -m bench.update.lora``; without a GPU it takes a few million weights, unless
``--params 1e9`` asks for more. ``--quick`` takes fewer steps.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from transformers import AutoModelForSequenceClassification

from bench.figure import figure
from renewal.core.clock import SystemClock
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.core.version import Manifest
from renewal.models.adapters import stored
from renewal.models.layers import Lesson, Tuning
from renewal.models.tokenizers_front import encoded, loaded_tokenizer
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import Fitted, TransformersModel, demand_fitted
from renewal.models.transformers_nets import plain_config, random_net
from renewal.models.transformers_text import padded, trained_tokenizer
from renewal.registry.db import Database
from renewal.registry.registry import Registry
from renewal.store.local import LocalStore

BILLION, SMALL = 1e9, 4e6
RANK = 8
CLASSES = tuple(f"intent {at:02}" for at in range(16))
MOST_SHARE, MOST_PEAK, MOST_OVERHEAD, FREE_S = 0.02, 1.5, 1.1, 2.0
MOST_REGISTER_S, MOST_ATTACH_S = 10.0, 5.0
WORDS = ("card", "lost", "fee", "refund", "please", "where", "transfer", "pin", "cash", "limit")
ADAPTER = TransformersAdapter()


@dataclass(frozen=True)
class Size:
    """How much is done.

    Parameters
    ----------
    params : float
        Weights of the base, about.
    steps, batch, tokens : int
        Optimizer steps, rows of each, and the length of a row.
    """

    params: float
    steps: int
    batch: int
    tokens: int

    @property
    def is_large(self) -> bool:
        """Whether the base is a large one, in half precision."""
        return self.params >= BILLION / 2

    @property
    def how(self) -> Tuning:
        """How both loops train."""
        return Tuning(
            steps=self.steps,
            epochs=self.steps,
            batch=self.batch,
            lr=1e-3,
            lora_rank=RANK,
            patience=None,
            precision="bfloat16" if self.is_large else "float32",
        )

    @property
    def config(self) -> dict[str, Any]:
        """A network of the shape of Llama 3.2, with as many layers as the weights need."""
        hidden, vocabulary = (2048, 32_000) if self.is_large else (256, 2_000)
        a_layer = int(14.5 * hidden**2)
        return {
            "model_type": "llama",
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "intermediate_size": 4 * hidden,
            "num_hidden_layers": max(1, math.ceil((self.params - vocabulary * hidden) / a_layer)),
            "num_attention_heads": hidden // 64,
            "num_key_value_heads": hidden // 256,
            "max_position_embeddings": max(512, self.tokens),
            "bos_token_id": 2,
            "eos_token_id": 3,
            "pad_token_id": 0,
            "dtype": "bfloat16" if self.is_large else "float32",
        }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--params", type=float, help="weights of the base, such as 1e9")
    parser.add_argument("--child", choices=("ours", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    size = size_of(asked.params, quick=asked.quick)
    if asked.child is None:
        report(size, *measured(size, _flags(asked)))
        return
    began = peak_bytes()
    run = ours if asked.child == "ours" else bare
    print(json.dumps(run(size, asked.home, began)))


def run(quick: bool) -> None:  # noqa: FBT001  # the form of every part of the benchmark
    """Run it with the size that fits this machine."""
    size = size_of(None, quick=quick)
    report(size, *measured(size, ["--quick"] if quick else []))


def size_of(params: float | None, *, quick: bool) -> Size:
    """Return the size: a billion weights where there is a GPU."""
    has_gpu = torch.cuda.is_available()
    params = params or (BILLION if has_gpu else SMALL)
    if has_gpu:
        return Size(params, 5 if quick else 30, 16, 256)
    if params >= BILLION / 2:
        return Size(params, 2, 2, 32)
    return Size(params, 5 if quick else 20, 8, 32)


def measured(size: Size, flags: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what both processes measured."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_base(size, home)
        found = []
        for child in ("ours", "bare"):
            command = [sys.executable, "-m", "bench.update.lora", *flags, "--child", child]
            ran = subprocess.run(
                [*command, "--home", str(home)], capture_output=True, text=True, check=False
            )
            if ran.returncode:
                raise SystemExit(f"the process {child!r} failed:\n{ran.stderr}")
            found.append(json.loads(ran.stdout.splitlines()[-1]))
    return found[0], found[1]


def make_base(size: Size, home: Path) -> None:
    """Put a base with random weights into a store, and beside it as the library saves it."""
    texts = cast("list[str]", rows(size)[0]["text"].to_pylist())
    tokenizer = trained_tokenizer(texts, 400)
    recipe = TransformersModel(
        size.config, ("text",), size.tokens, how=size.how, tokenizer=tokenizer
    )
    net = random_net(size.config, n_classes=len(CLASSES), seed=0)
    fitted = Fitted(
        net,
        plain_config(size.config, n_classes=len(CLASSES)),
        loaded_tokenizer(tokenizer, size.tokens, who="the benchmark"),
        ("text",),
        CLASSES,
    )
    data = ADAPTER.dump(
        TransformersModel(
            recipe.config, ("text",), size.tokens, how=size.how, tokenizer=tokenizer, fitted=fitted
        )
    )
    digest = LocalStore(home / "objects").put(data)
    (home / "base").write_text(digest, encoding="utf-8")
    net.save_pretrained(home / "saved")


def ours(size: Size, home: Path, began: int) -> dict[str, Any]:
    """Fine-tune, register and attach by the adapter."""
    store = LocalStore(home / "objects")
    base_digest = (home / "base").read_text(encoding="utf-8")
    base = ADAPTER.load(store.get(base_digest))
    features, labels = rows(size)
    load_peak = peak_bytes() - began
    forget_peak()
    start = time.perf_counter()
    tuned = ADAPTER.fine_tune(base, Lesson(features, labels), None, size.how, seed=0)
    _wait()
    train_s, peak = time.perf_counter() - start, peak_bytes() - began
    probe = features.slice(0, 4)
    expected = ADAPTER.predict(tuned, probe)
    start = time.perf_counter()
    kept = stored(ADAPTER, tuned, store)
    _register(home, kept, tuned)
    register_s = time.perf_counter() - start
    assert kept.parts == {"base": base_digest}
    data = store.get(kept.artifact)
    module = demand_fitted(tuned, who="the benchmark").module
    trained = [each for each in module.parameters() if each.requires_grad]
    n_params = sum(each.numel() for each in module.parameters())
    del tuned
    signature = Signature((Field("text", "string"),))
    serving = ADAPTER.ready(ADAPTER.load(store.get(base_digest)), signature)
    start = time.perf_counter()
    served = ADAPTER.ready(ADAPTER.load_onto(serving, data), signature)
    attach_s = time.perf_counter() - start
    found = ADAPTER.predict(served, probe)
    first_s = time.perf_counter() - start - attach_s
    return {
        "params": n_params - sum(each.numel() for each in trained),
        "trained": sum(each.numel() for each in trained),
        "trained_bytes": sum(each.numel() * each.element_size() for each in trained),
        "version_bytes": kept.artifact_bytes,
        "base_bytes": len(store.get(base_digest)),
        "train_s": train_s,
        "peak": peak,
        "register_s": register_s,
        "attach_s": attach_s,
        "first_s": first_s,
        "load_peak": load_peak,
        "gap": float(np.abs(found - expected).max()),
    }


def bare(size: Size, home: Path, began: int) -> dict[str, Any]:
    """Take the same steps with PEFT and torch alone."""
    features, labels = rows(size)
    texts = cast("list[str]", features["text"].to_pylist())
    tokenizer = loaded_tokenizer(trained_tokenizer(texts, 400), size.tokens, who="the benchmark")
    batch = padded(encoded(tokenizer, texts), 0)
    targets = torch.tensor([CLASSES.index(label) for label in labels])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = torch.bfloat16 if size.is_large else torch.float32
    net = AutoModelForSequenceClassification.from_pretrained(
        home / "saved", num_labels=len(CLASSES), dtype=kind, local_files_only=True
    )
    forget_peak()
    start = time.perf_counter()
    net = get_peft_model(
        net.to(device),
        LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="SEQ_CLS"),
    ).train()
    trained = [each for each in net.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=size.how.lr, weight_decay=0.0, fused=device.type == "cuda"
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(size.steps):
        at = torch.randperm(len(targets), generator=generator)[: size.batch]
        inputs = {name: each[at].to(device) for name, each in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=size.is_large):
            logits = net(**inputs).logits
        functional.cross_entropy(logits.float(), targets[at].to(device)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    _wait()
    return {
        "trained": sum(each.numel() for each in trained),
        "train_s": time.perf_counter() - start,
        "peak": peak_bytes() - began,
    }


def report(size: Size, ours: dict[str, Any], bare: dict[str, Any]) -> None:
    """Print the table and the figures."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
    table = Table(title=f"LoRA, rank {RANK}, {ours['params']:,} weights, on {where}")
    for name in ("", "trained", f"seconds of {size.steps} steps", "peak MB"):
        table.add_column(name, justify="right")
    for name, found in (("Renewal", ours), ("PEFT alone", bare)):
        seconds, peak = f"{found['train_s']:.2f}", f"{found['peak'] / 1e6:,.0f}"
        table.add_row(name, f"{found['trained']:,}", seconds, peak)
    Console(width=100).print(table)
    print(
        f"version {ours['version_bytes']:,} bytes, base {ours['base_bytes']:,} bytes; "
        f"scores after attaching differ by {ours['gap']:.2g}; the first four rows after it took "
        f"{ours['first_s']:.2f} s; loading the base took "
        f"{ours['load_peak'] / 1e6:,.0f} MB at its peak"
    )
    if not torch.cuda.is_available():
        print("NOT RUN: the form on a GPU, for want of one here; peaks are of the process.")
    large = ours["params"] >= BILLION
    figure("lora.parameters", f"{ours['params']:.3g}", ">=1e9", ok=large)
    alone = ours["version_bytes"] / ours["trained_bytes"]
    figure("lora.version_bytes_over_trained_bytes", alone, "<=1.1", ok=alone <= 1.1)
    if size.is_large:
        share = ours["version_bytes"] / ours["base_bytes"]
        figure("lora.version_bytes_over_base", share, f"<={MOST_SHARE}", ok=share <= MOST_SHARE)
    for name, most in (("register_s", MOST_REGISTER_S), ("attach_s", MOST_ATTACH_S)):
        figure(f"lora.{name}", float(ours[name]), f"<={most:g}", ok=ours[name] <= most)
    figure("lora.scores_after_attaching_differ", ours["gap"], "==0", ok=ours["gap"] == 0.0)
    peak = ours["peak"] / bare["peak"]
    figure("lora.peak_over_bare_peft", peak, f"<={MOST_PEAK}", ok=peak <= MOST_PEAK)
    ratio, more_s = ours["train_s"] / bare["train_s"], ours["train_s"] - bare["train_s"]
    is_cheap = ratio <= MOST_OVERHEAD or more_s <= FREE_S
    figure("lora.seconds_over_bare_peft", ratio, f"<={MOST_OVERHEAD}or+{FREE_S:g}s", ok=is_cheap)


def rows(size: Size) -> tuple[pa.Table, Any]:
    """Return texts that fill a row, and their labels."""
    rng = np.random.default_rng(0)
    n_rows = size.batch * min(size.steps, 8)
    texts = [" ".join(rng.choice(WORDS, size.tokens)) for _ in range(n_rows)]
    labels = np.array(rng.choice(CLASSES, n_rows).tolist(), dtype=object)
    labels[: min(n_rows, len(CLASSES))] = CLASSES[:n_rows]
    return pa.table({"text": texts}), labels


def peak_bytes() -> int:
    """Return the most memory so far: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says there begins with the peak of the parent process
        said = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(said.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak() -> None:
    """Begin anew with the most memory."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _register(home: Path, kept: Any, tuned: TransformersModel) -> None:
    database = Database(f"sqlite:///{home}/registry.db")
    try:
        registry = Registry(database, SystemClock())
        registry.create_model(ModelSpec("intents", "multiclass", "intent"))
        registry.add_version(
            Manifest(
                model="intents",
                task="multiclass",
                adapter=ADAPTER.name,
                artifact=kept.artifact,
                artifact_bytes=kept.artifact_bytes,
                signature=Signature((Field("text", "string"),)),
                classes=ADAPTER.classes(tuned),
                strategy="fine_tune",
                environment=ADAPTER.environment(),
                parts=kept.parts,
            )
        )
    finally:
        database.close()


def _flags(asked: argparse.Namespace) -> list[str]:
    flags = ["--quick"] if asked.quick else []
    return flags if asked.params is None else [*flags, "--params", str(asked.params)]


if __name__ == "__main__":
    main()

"""Other servers with the same models and rows, each in an environment of its own.

``python -m bench.serving.peers --install`` makes the environments, about 3 GB, in the folder
that RENEWAL_PEERS names (``~/.cache/renewal-peers`` where it names none); after that
``python -m bench.serving.peers`` measures them beside ours, one after the other, each bound to
the server's core and under the same generator. Who is not installed is told as NOT RUN.

Each peer gets the single-row request of its own protocol, in JSON, and answers the label;
ours answers the label and the probabilities, and writes its prediction log.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.serving.homes import MODELS, input_dtype, make_home, training_data, write_policy
from bench.serving.load import Generator, Report, generator
from bench.serving.process import ONE_THREAD, NotStartedError, free_port, started
from bench.serving.requests import invocations, rows, v2_json
from bench.serving.throughput import N_CONNECTIONS, ours, stripped
from bench.serving.versions import tell_machine

_SCRIPTS = Path(__file__).with_name("peer")
_HINT = "python -m bench.serving.peers --install"
_INSTALL_S = 1800
_N_REQUESTS = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server.

    Parameters
    ----------
    title : str
        In the table.
    needs : tuple of str
        What pip installs for it.
    form : {"joblib", "mlflow"}
        In which it takes a model.
    words : callable
        From its environment's folder, the model's folder, its name and a port to the command
        line.
    request : callable
        From rows and the model's name to a request.
    ready : str
        A path that is answered 200 once it serves; ``{name}`` stands for the model.
    """

    title: str
    needs: tuple[str, ...]
    form: str
    words: Callable[[Path, Path, str, int], list[str]]
    request: Callable[[np.ndarray, str], bytes]
    ready: str = "/v2/health/ready"


def _mlserver(env: Path, folder: Path, name: str, port: int) -> list[str]:
    model = {
        "name": name,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
    }
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
    }
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return [str(env / "bin" / "mlserver"), "start", str(folder)]


def _mlflow(env: Path, folder: Path, _name: str, port: int) -> list[str]:
    words = [str(env / "bin" / "mlflow"), "models", "serve", "-m", str(folder / "mlflow")]
    return [*words, "--port", str(port), "--env-manager", "local", "--workers", "1"]


def _kserve(env: Path, folder: Path, name: str, port: int) -> list[str]:
    script = str(_SCRIPTS / "kserve_server.py")
    return [str(env / "bin" / "python"), script, str(folder), name, str(port)]


def _triton(env: Path, folder: Path, name: str, port: int) -> list[str]:
    script = str(_SCRIPTS / "triton_server.py")
    words = [str(env / "bin" / "python"), script, str(folder), name, str(port)]
    return [*words, str(free_port())]


def _v2(values: np.ndarray, name: str) -> bytes:
    return v2_json(name, values)


PEERS = {
    "mlserver": Peer(
        "MLServer, in process",
        ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"),
        "joblib",
        _mlserver,
        _v2,
    ),
    "mlflow": Peer(
        "mlflow models serve",
        ("mlflow>=3", "scikit-learn"),
        "mlflow",
        _mlflow,
        lambda values, _name: invocations(values),
        ready="/ping",
    ),
    "kserve": Peer(
        "KServe SDK", ("kserve==0.21.0", "scikit-learn", "joblib"), "joblib", _kserve, _v2
    ),
    "pytriton": Peer(
        "Triton, Python backend",
        ("nvidia-pytriton==0.7.0", "scikit-learn", "joblib"),
        "joblib",
        _triton,
        _v2,
        ready="/v2/models/{name}/ready",
    ),
}


def folder_of(name: str) -> Path:
    """Return where a peer's environment lies, or would."""
    given = os.environ.get("RENEWAL_PEERS")
    return (Path(given) if given else Path.home() / ".cache" / "renewal-peers") / name


def install() -> None:
    """Make every environment that is not there."""
    for name, peer in PEERS.items():
        folder = folder_of(name)
        if not (folder / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        print(f"{peer.title}: {' '.join(peer.needs)}", flush=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *peer.needs]
        subprocess.run(pip, check=True, timeout=_INSTALL_S)


def run(quick: bool) -> None:  # noqa: FBT001  # the one switch of every part
    """Measure ours, the stripped handler and every peer that is installed; print a table."""
    seconds, n_trees, n_rows = (1.0, 5, 600) if quick else (8.0, 100, 5000)
    tell_machine()
    with TemporaryDirectory(prefix="renewal-bench-") as name, generator() as load:
        if load is None:
            return
        bench = Bench(Path(name), load, seconds, n_trees)
        write_policy(bench.folder / "home")
        graphs = make_home(bench.folder / "home", MODELS, n_trees, n_rows)
        x, y = training_data(n_rows)
        np.savez(bench.folder / "data.npz", x=x, y=y)
        for model, graph in graphs.items():
            _measure(bench, model, graph)


@dataclass(frozen=True, slots=True)
class Bench:
    """With what the peers are measured."""

    folder: Path
    load: Generator
    seconds: float
    n_trees: int

    def measure(self, port: int, requests: list[bytes]) -> tuple[Report, Report]:
        """Return what 32 connections come to, and one."""
        many = self.load.run(
            port, requests, connections=N_CONNECTIONS, seconds=self.seconds, warm=self.seconds / 2
        )
        return many, self.load.run(port, requests, connections=1, seconds=self.seconds / 2)


def _measure(bench: Bench, model: str, graph: bytes) -> None:
    requests = [v2_json(model, each) for each in rows(_N_REQUESTS, dtype=input_dtype(graph))]
    found: dict[str, tuple[Report, Report]] = {}
    with ours(bench.folder / "home") as child:
        found["renewal serve"] = bench.measure(child.port, requests)
    path = bench.folder / f"{model}.onnx"
    path.write_bytes(graph)
    with stripped(path) as child:
        found["stripped handler"] = bench.measure(child.port, requests)
    for name, peer in PEERS.items():
        reports = measured(bench, name, peer, model)
        if reports is not None:
            found[f"{peer.title} ({_release(name, peer)})"] = reports
    _tell(model, found)


def measured(bench: Bench, name: str, peer: Peer, model: str) -> tuple[Report, Report] | None:
    """Return what a peer came to; None, told aloud, where it does not run."""
    env = folder_of(name)
    if not (env / "bin" / "python").exists():
        print(f"NOT RUN: {peer.title}: no environment at {env}: {_HINT}")
        return None
    folder = bench.folder / name / model
    folder.mkdir(parents=True)
    target = folder / "mlflow" if peer.form == "mlflow" else folder
    given = [str(bench.folder / "data.npz"), model, str(bench.n_trees), str(target), peer.form]
    python = str(env / "bin" / "python")
    port = free_port()
    env_vars = _environment(env)
    try:
        subprocess.run(
            [python, str(_SCRIPTS / "fit.py"), *given],
            check=True,
            timeout=300,
            capture_output=True,
            env={**os.environ, **env_vars},
        )
        words = peer.words(env, folder, model, port)
        with started(words, port, ready=peer.ready.format(name=model), env=env_vars) as child:
            requests = [peer.request(each, model) for each in rows(_N_REQUESTS)]
            return bench.measure(child.port, requests)
    except (NotStartedError, subprocess.SubprocessError) as error:
        printed = getattr(error, "stderr", None) or b""
        print(f"NOT RUN: {peer.title}: {error} {printed.decode(errors='replace')[-1000:]}")
        return None


def _environment(env: Path) -> dict[str, str]:
    """Return what a peer is started with; Triton's stub looks for the library of its Python."""
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    words = [str(env / "bin" / "python"), "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return {
        "PATH": f"{env / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": "",
        "LD_LIBRARY_PATH": done.stdout.strip(),
        **ONE_THREAD,
    }


def _release(name: str, peer: Peer) -> str:
    python = str(folder_of(name) / "bin" / "python")
    package = peer.needs[0].partition("==")[0].partition(">=")[0]
    code = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    done = subprocess.run(
        [python, "-c", code, package], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def _tell(model: str, found: dict[str, tuple[Report, Report]]) -> None:
    drawn = Table(title=f"{model}: single rows in JSON, one core", box=None)
    for head in (
        "server",
        "32 conn. /s",
        "p50 ms",
        "p99 ms",
        "1 conn. /s",
        "p50 ms",
        "x",
        "failed",
    ):
        drawn.add_column(head, justify="left" if head == "server" else "right")
    first = found["renewal serve"][0].rate
    for name, (many, one) in found.items():
        drawn.add_row(
            name,
            f"{many.rate:,.0f}",
            f"{many.p50_ms:.2f}",
            f"{many.p99_ms:.2f}",
            f"{one.rate:,.0f}",
            f"{one.p50_ms:.3f}",
            f"{first / many.rate:.1f}" if many.rate else "-",
            many.failures() if many.n_failed else "0",
        )
    Console(width=120).print(drawn)
    print("x: how many times as many requests ours answers at 32 connections")


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a second each")
    parser.add_argument("--install", action="store_true", help="make the environments")
    asked = parser.parse_args()
    if asked.install:
        install()
        return
    run(asked.quick)


if __name__ == "__main__":
    main()

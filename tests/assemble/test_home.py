"""A home: made once, opened by many, and watched without one model stopping the others."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import renewal
from renewal.assemble.home import Home, open_home
from renewal.core.errors import Conflict, Invalid, NotFound, RenewalError, Unavailable
from renewal.loop.happening import Happening
from renewal.loop.lease import held


def rows(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    return {"x": x, "y": y, "target": (x + y + rng.normal(size=n) > 0).astype(np.int64)}


def two_models(folder: Path) -> Home:
    home = open_home(folder)
    for name in ("a", "b"):
        model = home.model(name, task="binary", target="target")
        model.train(LogisticRegression(), rows(200, seed=len(name)))
    return home


def test_many_open_a_fresh_home_at_once_and_share_its_salt(tmp_path: Path) -> None:
    def salt(_: int) -> bytes:
        with open_home(tmp_path / "home") as home:
            return home.salt

    with ThreadPoolExecutor(8) as pool:
        salts = set(pool.map(salt, range(8)))
    assert len(salts) == 1


def test_wrong_homes_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="renewal init"):
        open_home(tmp_path / "none", create=False)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(Invalid, match="file"):
        open_home(tmp_path / "file")


def test_a_model_is_declared_once_and_found_by_name(tmp_path: Path) -> None:
    with renewal.open(tmp_path) as home:
        with pytest.raises(NotFound):
            home.model("m")
        with pytest.raises(Invalid, match="target"):
            home.model("m", task="binary")
        home.model("m", task="binary", target="target")
        assert home.model("m").spec.task == "binary"
        home.model("m", task="binary", target="target")
        with pytest.raises(Conflict, match="target"):
            home.model("m", task="binary", target="other")


def test_trouble_of_one_model_leaves_the_other_watched(tmp_path: Path) -> None:
    """Without this, one truncated object at night would leave every model unwatched."""
    with two_models(tmp_path) as home:
        told: list[Happening] = []
        with held(home.db, "watch:a", ttl_s=0.2):
            home.watch(every_s=0.0, stop=lambda _seconds: True, tell=told.append)
        assert [each.kind for each in told if each.kind != "compiled"] == ["failed"]
        assert any("a:" in each.sentence for each in told if each.kind == "failed")
        with held(home.db, "watch:a", ttl_s=0.2), pytest.raises(Unavailable):
            home.watch(["a"], once=True)


def test_face_is_complete_and_lazy() -> None:
    for name in renewal.__all__:
        assert getattr(renewal, name) is not None
    assert renewal.__all__ == sorted(renewal.__all__)
    assert issubclass(renewal.Conflict, RenewalError)
    with pytest.raises(AttributeError):
        renewal.nothing  # noqa: B018

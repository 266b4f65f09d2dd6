"""Which protocols the server speaks: its fronts and pages, in the order in which they are asked."""

from __future__ import annotations

from renewal.serve.front import Front, Page, Target
from renewal.serve.health import health_page
from renewal.serve.metrics import metrics_page
from renewal.serve.mlflow_front import MlflowFront
from renewal.serve.mlflow_pages import mlflow_page
from renewal.serve.oip_front import OipFront
from renewal.serve.openapi import openapi_page
from renewal.serve.repository import repository_page
from renewal.serve.statistics import statistics_page
from renewal.serve.v1_front import V1Front
from renewal.serve.v1_pages import v1_page

FRONTS: tuple[Front, ...] = (OipFront(), V1Front(), MlflowFront())
PAGES: tuple[Page, ...] = (
    statistics_page,
    health_page,
    repository_page,
    v1_page,
    mlflow_page,
    metrics_page,
    openapi_page,
)


def front_of(path: tuple[str, ...]) -> tuple[Front, Target] | None:
    """Return the front of a prediction path and whom it names; None where it is none."""
    for front in FRONTS:
        target = front.match(path)
        if target is not None:
            return front, target
    return None

"""Metrics over HTTP: what was really asked, in a form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Scraper:
    """Reads the metrics of a server as Prometheus does."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.content_type = ""

    def text(self, **headers: str) -> str:
        """Return the page."""
        connection = self._client.connection
        connection.request("GET", "/metrics", None, headers)
        answer = connection.getresponse()
        assert answer.status == 200
        self.content_type = answer.getheader("content-type")
        body: bytes = answer.read()
        return body.decode()

    def samples(self) -> Samples:
        """Return every sample by name and labels."""
        return samples_of(self.text())


def samples_of(text: str) -> Samples:
    """Return every sample of a page; fail on two of the same name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def total(samples: Samples, name: str, **labels: str) -> float:
    """Add up the samples of a name that have these labels."""
    wanted = set(labels.items())
    return sum(value for (of, has), value in samples.items() if of == name and wanted <= set(has))


@pytest.fixture
def scraper(home: Any) -> Callable[[Any], Scraper]:
    return lambda server: Scraper(home.client(server))


def test_every_request_is_counted_once_where_it_belongs(
    home: Any, scraper: Callable[[Any], Scraper]
) -> None:
    """Breaks when a request is lost, counted twice, or under another version or arm."""
    home.declare()
    first, second = home.version(seed=1), home.version(seed=2)
    home.champion(first)
    home.canary(first, second, 0.5, shadow=True)
    server = home.start()
    client, scrape = home.client(server), scraper(server)
    arms = [client.infer("flights", n_rows=3).body["parameters"]["arm"] for _ in range(20)]
    answered = [client.infer("flights", sticky=f"user-{at}").body["parameters"] for at in range(20)]
    pinned = client.send("POST", "/v2/models/flights/versions/2/infer", _body())
    assert pinned.status == 200
    assert client.infer("nosuch").status == 404
    assert client.send("POST", "/v2/models/flights/infer", b"{").status == 400
    server.flush()
    found = scrape.samples()
    assert total(found, "renewal_requests_total", model="flights", status="200") == 41
    for each in ("champion", "candidate", "mixed"):
        n = arms.count(each) + [said["arm"] for said in answered].count(each)
        assert total(found, "renewal_requests_total", arm=each, protocol="v2") == n
        assert total(found, "renewal_request_seconds_count", arm=each) == n
    assert total(found, "renewal_requests_total", arm="pinned", version="v2") == 1
    assert total(found, "renewal_requests_total", status="400", model="flights") == 1
    assert total(found, "renewal_requests_total", status="404", model="") == 1
    assert total(found, "renewal_rows_total") == 81
    assert total(found, "renewal_rows_total", version="v1", arm="champion") == (
        81 - total(found, "renewal_rows_total", version="v2")
    )
    assert total(found, "renewal_failed_rows_total") == 0
    # Whoever did not answer a row has scored it in shadow: each row but the pinned one's twice.
    assert total(found, "renewal_shadow_rows_scored_total") >= 80
    assert total(found, "renewal_log_rows_written_total") == 81 + total(
        found, "renewal_shadow_rows_scored_total"
    )
    assert not any("nosuch" in dict(labels).values() for _name, labels in found)


def _body() -> dict[str, Any]:
    names = ("distance", "hour", "carrier_delay")
    return {
        "inputs": [
            {"name": each, "shape": [1], "datatype": "FP64", "data": [0.5]} for each in names
        ]
    }


def test_what_is_not_logged_is_counted(home: Any, scraper: Callable[[Any], Scraper]) -> None:
    """Breaks when rows that a policy leaves out look like rows that were lost, or like none."""
    home.declare()
    home.champion(home.version())
    server = home.start(log_sample=0.0)
    home.client(server).infer("flights", 3)
    server.flush()
    found = scraper(server).samples()
    assert total(found, "renewal_log_rows_sampled_out_total") == 3
    assert total(found, "renewal_log_rows_written_total") == 0
    assert total(found, "renewal_log_rows_dropped_total") == 0


def test_plan_queue_and_swaps_are_told(home: Any, scraper: Callable[[Any], Scraper]) -> None:
    home.declare()
    first, second = home.version(seed=1), home.version(seed=2)
    home.champion(first)
    server = home.start()
    scrape = scraper(server)
    seq = home.canary(first, second, 0.25, shadow=False)
    server.wait_for("flights", seq)
    broken = home.version(seed=3, break_bytes=True)
    with pytest.raises(Exception, match="flights"):
        server.wait_for("flights", home.steady(broken))
    found = scrape.samples()
    weight = "renewal_plan_weight"
    assert total(found, weight, model="flights", arm="champion", version="v1") == 0.75
    assert total(found, weight, model="flights", arm="candidate", version="v2") == 0.25
    assert total(found, "renewal_plan_seq", model="flights", worker="0") == seq
    assert total(found, "renewal_swap_total", model="flights") == 2
    assert total(found, "renewal_swap_seconds_count", model="flights") == 2
    assert total(found, "renewal_swap_failed_total", model="flights") >= 1
    assert total(found, "renewal_model_failing", model="flights") == 1
    assert total(found, "renewal_worker_ready", worker="0") == 1
    assert total(found, "renewal_queue_rows", model="flights") == 0
    assert total(found, "process_resident_memory_bytes") > 1e6
    assert total(found, "process_cpu_seconds_total") > 0


def test_labels_are_counted(home: Any, scraper: Callable[[Any], Scraper]) -> None:
    home.declare()
    home.champion(home.version(seed=1))
    server = home.start()
    client = home.client(server)
    said = client.infer("flights", n_rows=2).body["parameters"]["prediction_id"]
    labels = [{"prediction_id": f"{said}-{row}", "label": 1} for row in range(2)]
    assert client.send("POST", "/v2/models/flights/feedback", {"labels": labels}).status == 200
    found = scraper(server).samples()
    assert total(found, "renewal_feedback_labels_total", model="flights") == 2


def test_a_batch_counts_in_its_bucket_and_stays_after_a_swap(
    home: Any, scraper: Callable[[Any], Scraper]
) -> None:
    """Breaks when the batches of a version are forgotten with it: a counter would go back."""
    home.declare()
    first, second = home.version(seed=1), home.version(seed=2)
    home.champion(first)
    server = home.start(keep_warm_s=0.0)
    client, scrape = home.client(server), scraper(server)
    for n_rows in (1, 3, 3, 2000):
        assert client.infer("flights", n_rows=n_rows).status == 200
    before = scrape.samples()
    server.wait_for("flights", home.steady(second))
    for found in (before, scrape.samples()):
        bucket = "renewal_batch_rows_bucket"
        assert total(found, bucket, version="v1", le="1.0") == 1
        assert total(found, bucket, version="v1", le="2.0") == 1
        assert total(found, bucket, version="v1", le="4.0") == 3
        assert total(found, bucket, version="v1", le="1024.0") == 3
        assert total(found, bucket, version="v1", le="+Inf") == 4
        assert total(found, "renewal_batch_rows_sum", version="v1") == 2007


def test_openmetrics_is_spoken_where_it_is_asked_for(
    home: Any, scraper: Callable[[Any], Scraper]
) -> None:
    home.declare()
    home.champion(home.version(seed=1))
    server = home.start()
    home.client(server).infer("flights")
    scrape = scraper(server)
    text = scrape.text(accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert scrape.content_type.startswith("application/openmetrics-text")
    families = {each.name: each for each in openmetrics_families(text)}  # type: ignore[no-untyped-call]  # their parser has no types
    assert families["renewal_requests"].type == "counter"
    assert families["renewal_request_seconds"].type == "histogram"
    for accept in ("text/plain", "*/*", "application/openmetrics-text; version=x", "é"):
        plain = scrape.text(accept=accept)
        assert "renewal_requests_total" in plain
    assert scrape.text()
    assert scrape.content_type.startswith("text/plain; version=0.0.4")


def test_other_methods_are_refused(home: Any) -> None:
    home.declare()
    server = home.start()
    answered = home.client(server).send("POST", "/metrics", {})
    assert (answered.status, answered.headers["allow"]) == (405, "GET, HEAD")

"""Content encodings: what comes back, what is refused, and that a bomb stays small."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.serve.bodies import encoded_body, plain_body
from renewal.serve.http import reply_to, status_of

MAX = 1 << 20
JSON = b'{"inputs": [' + b"0.125, " * 500 + b"1]}"


def raw(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-15)


def said(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"x"), *((b"content-encoding", value) for value in values)]


@pytest.mark.parametrize(
    ("word", "body"),
    [
        (b"gzip", gzip.compress(JSON)),
        (b"x-gzip", gzip.compress(JSON)),
        (b" GZip ", gzip.compress(JSON)),
        (b"deflate", zlib.compress(JSON)),
        (b"deflate", raw(JSON)),
        (b"identity", JSON),
        (b"", JSON),
        (b"gzip, identity", gzip.compress(JSON)),
        (b"deflate, gzip", gzip.compress(zlib.compress(JSON))),
        (b"gzip", gzip.compress(JSON[:40]) + gzip.compress(JSON[40:])),  # two members
    ],
)
def test_each_encoding_is_undone(word: bytes, body: bytes) -> None:
    assert plain_body(said(word), body, MAX) == JSON


def test_a_plain_body_is_not_copied() -> None:
    assert plain_body([], JSON, 1) is JSON


def test_two_headers_are_one_list() -> None:
    body = gzip.compress(raw(JSON))
    assert plain_body(said(b"deflate", b"gzip"), body, MAX) == JSON


def test_no_body_has_nothing_to_undo() -> None:
    assert plain_body(said(b"gzip"), b"", MAX) == b""


@pytest.mark.parametrize("word", [b"br", b"zstd", b"\xff\xfe", b"gzip,br", b"gzip;q=1", b"*"])
def test_an_unknown_encoding_is_415(word: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        plain_body(said(word), gzip.compress(JSON), MAX)
    assert status_of(caught.value) == 415
    assert reply_to(caught.value).body.isascii()


@pytest.mark.parametrize("words", [b"gzip,gzip,gzip", b"gzip," * 5000 + b"gzip"])
def test_a_tower_of_encodings_is_415(words: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        plain_body(said(words), gzip.compress(JSON), MAX)
    assert status_of(caught.value) == 415


def flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]


@pytest.mark.parametrize(
    ("word", "body"),
    [
        (b"gzip", gzip.compress(JSON)[:-1]),
        (b"gzip", gzip.compress(JSON)[:5]),
        (b"gzip", flipped(gzip.compress(JSON))),
        (b"gzip", gzip.compress(JSON) + b"left over"),
        (b"gzip", JSON),
        (b"gzip", zlib.compress(JSON)),
        (b"gzip", gzip.compress(b"") * 2000),  # small, endless, and worth nothing
        (b"deflate", zlib.compress(JSON)[:-1]),
        (b"deflate", zlib.compress(JSON) + b"left over"),
        (b"deflate", raw(JSON)[:-1]),
        (b"deflate", gzip.compress(JSON)),
        (b"deflate", JSON),
    ],
)
def test_damaged_bytes_are_400(word: bytes, body: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        plain_body(said(word), body, MAX)
    assert status_of(caught.value) == 400


def test_the_limit_is_met_exactly() -> None:
    noise = random.Random(6).randbytes(200_000)
    for encoded in (gzip.compress(noise), gzip.compress(b"a" * 200_000)):
        assert len(plain_body(said(b"gzip"), encoded, 200_000)) == 200_000
        with pytest.raises(Invalid) as caught:
            plain_body(said(b"gzip"), encoded, 199_999)
        assert status_of(caught.value) == 413


@pytest.mark.parametrize("word", [b"gzip", b"deflate"])
def test_a_bomb_costs_no_more_than_an_honest_body(word: bytes) -> None:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31 if word == b"gzip" else -15)
    bomb = b"".join([*(pack.compress(bytes(1 << 20)) for _ in range(64)), pack.flush()])
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(Invalid):
            plain_body(said(word), bomb, MAX)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 3 * MAX


def status_when_read(word: bytes, body: bytes) -> int:
    try:
        return 200 if len(plain_body(said(word), body, 1000)) <= 1000 else 500
    except Invalid as error:
        return status_of(error)


@given(st.binary(max_size=200), st.sampled_from([b"gzip", b"deflate", b"gzip, deflate"]))
def test_noise_is_refused_or_read_never_worse(body: bytes, word: bytes) -> None:
    assert status_when_read(word, body) in {200, 400, 413}


@given(st.binary(max_size=200))
def test_any_header_is_read(value: bytes) -> None:
    body, encoding = encoded_body(JSON, value)
    assert plain_body(said(encoding or b"identity"), body, MAX) == JSON
    assert status_when_read(value, b"") in {200, 415}


@pytest.mark.parametrize(
    ("asked", "encoding"),
    [
        (None, None),
        (b"", None),
        (b"gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"gzip, deflate, br, zstd", b"gzip"),
        (b"deflate, gzip", b"gzip"),
        (b"deflate;q=1.0, gzip;q=0.5", b"deflate"),
        (b"gzip ; q=0, deflate", b"deflate"),
        (b"gzip;q=0", None),
        (b"br", None),
        (b"*", b"gzip"),
        (b"*;q=0.1, gzip;q=0", b"deflate"),
        (b"identity", None),
        (b"identity;q=1, gzip;q=0.5", None),
        (b"identity;q=0.5, gzip;q=1", b"gzip"),
        (b"identity;q=0, *", b"gzip"),
        (b"*;q=0", None),  # nothing is welcome; plain is what a client can still read
        (b"identity;q=0, br", None),
        (b"gzip;q=nan", None),
        (b"gzip;q=-1", None),
        (b"gzip;q=1e3", None),
        (b"gzip;level=9", None),
        (b"br," * 10_000 + b"gzip", None),  # what stands that late is not read
    ],
)
def test_the_client_chooses(asked: bytes | None, encoding: bytes | None) -> None:
    body, came = encoded_body(JSON, asked)
    assert came == encoding
    assert plain_body(said(came or b"identity"), body, MAX) == JSON
    assert (body is JSON) == (encoding is None)


def test_a_small_body_stays_plain_unless_plain_is_refused() -> None:
    small = b'{"ready": true}'
    assert encoded_body(small, b"gzip") == (small, None)
    body, encoding = encoded_body(small, b"gzip, identity;q=0")
    assert (gzip.decompress(body), encoding) == (small, b"gzip")


def test_a_body_that_grows_stays_plain() -> None:
    noise = random.Random(6).randbytes(4000)
    assert encoded_body(noise, b"gzip") == (noise, None)


def test_deflate_is_sent_in_the_frame_that_clients_expect() -> None:
    body, _ = encoded_body(JSON, b"deflate")
    assert zlib.decompress(body) == JSON

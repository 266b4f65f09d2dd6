"""Image files as arrays: two formats, no surprise."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from renewal.core.errors import Invalid
from renewal.models.pillow_images import decoded


def _file(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_pixels_come_by_channel() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    (found,) = decoded([_file(Image.fromarray(pixels))], channels=3, size=None, who="a test")
    assert np.array_equal(found, pixels.transpose(2, 0, 1))


def test_every_kind_of_color_becomes_the_one_wanted() -> None:
    images = [Image.new(mode, (4, 4), 200) for mode in ("L", "P", "RGBA", "1", "I;16")]
    files = [_file(each) for each in images]
    assert decoded(files, channels=1, size=None, who="a test").shape == (5, 1, 4, 4)
    assert decoded(files, channels=3, size=None, who="a test").shape == (5, 3, 4, 4)


def test_other_formats_are_not_even_tried() -> None:
    """Pillow reads dozens of formats, and few of them are as well tested."""
    data = _file(Image.new("RGB", (4, 4)), "TIFF")
    assert Image.open(io.BytesIO(data)).format == "TIFF"
    with pytest.raises(Invalid, match="JPEG or PNG"):
        decoded([data], channels=3, size=None, who="a test")


def test_a_small_file_that_unfolds_to_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow itself only warns, and goes on to fill the memory."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Invalid, match="decompression bomb"):
        decoded([_file(Image.new("1", (12, 12)))], channels=1, size=None, who="a test")


def test_no_files_give_no_rows() -> None:
    assert decoded([], channels=3, size=(2, 5), who="a test").shape == (0, 3, 2, 5)


def test_a_small_file_that_claims_a_huge_image_is_refused_before_it_unfolds() -> None:
    """Breaks when 90 kB of a stranger take half a gigabyte: the header says it beforehand."""
    file = io.BytesIO()
    Image.new("L", (5_200, 5_200)).save(file, "PNG")
    assert len(file.getvalue()) < 100_000
    with pytest.raises(Invalid, match="at most 25,000,000 pixels; got one of 5,200 x 5,200"):
        decoded([file.getvalue()], channels=3, size=(8, 8), who="a test")


@pytest.mark.parametrize("wrong", ["a.jpg", 7])
def test_what_is_no_file_is_named(wrong: object) -> None:
    with pytest.raises(Invalid, match=f"got a {type(wrong).__name__}"):
        decoded([wrong], channels=3, size=None, who="a test")  # type: ignore[list-item]  # the point

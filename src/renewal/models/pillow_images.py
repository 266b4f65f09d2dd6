"""Image files as arrays of bytes, decoded by Pillow."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from renewal.core.errors import Invalid

# What comes from strangers is read by few decoders only.
FORMATS = ("JPEG", "PNG")
_MODES = {1: "L", 3: "RGB"}
LARGEST_PIXELS = 25_000_000
"""Of one image: a photo of a good camera. A file of 90 kB can claim four times as many."""


def decoded(
    files: Sequence[bytes | None], *, channels: int, size: tuple[int, int] | None, who: str
) -> NDArray[np.uint8]:
    """Return JPEG or PNG files as one array.

    Parameters
    ----------
    files : sequence of bytes
        One image each.
    channels : {1, 3}
        Gray, or red, green and blue; other images are converted.
    size : tuple of (int, int), pixels, or None
        Height and width to which every image is scaled; None: all have one size.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    ndarray of uint8, shape (n_rows, channels, height, width)

    Raises
    ------
    Invalid
        On a missing or damaged image, one of another format, or of another size.

    Notes
    -----
    About 0.1 ms for an image of 32 x 32; one thread.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 3), (255, 0, 0)).save(file, "PNG")
    >>> decoded([file.getvalue()], channels=3, size=None, who="demo").shape
    (1, 3, 3, 4)
    """
    found: NDArray[np.uint8] | None = None
    for at, data in enumerate(files):
        pixels = _pixels(data, _MODES[channels], size, f"{who}, row {at},")
        if found is None:
            found = np.empty((len(files), *pixels.shape), np.uint8)
        if pixels.shape != found.shape[1:]:
            raise Invalid(
                f"{who}, row {at},",
                needs=f"images of one size, such as the first's {found.shape[2]} x "
                f"{found.shape[3]} pixels",
                came=f"one of {pixels.shape[1]} x {pixels.shape[2]}",
                todo="Give Reading(images=(height, width)), to which all are scaled.",
            )
        found[at] = pixels
    height, width = size or (1, 1)
    return np.empty((0, channels, height, width), np.uint8) if found is None else found


def _demand_small(size: tuple[int, int], who: str) -> None:
    """Refuse an image that unfolds to too much, by its header: nothing is decoded yet."""
    if size[0] * size[1] > LARGEST_PIXELS:
        raise Invalid(
            who,
            needs=f"an image of at most {LARGEST_PIXELS:,} pixels",
            came=f"one of {size[0]:,} x {size[1]:,}",
            todo="Scale it down before it is sent.",
        )


def _told(data: object, error: Exception) -> str:
    if data is None:
        return "none"
    if not isinstance(data, bytes):
        return f"a {type(data).__name__}"
    return f"{len(data):,} bytes: {error}"


def _pixels(
    data: bytes | None, mode: str, size: tuple[int, int] | None, who: str
) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            # A small file can unfold to gigabytes; Pillow warns, and here that is an error.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data or b""), formats=FORMATS) as image:
                _demand_small(image.size, who)
                plain = image.convert(mode)
    except (
        TypeError,
        OSError,
        SyntaxError,
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise Invalid(
            who,
            needs=f"an image in the format {' or '.join(FORMATS)}",
            came=_told(data, error),
            todo="Leave the row out, or send the image again.",
        ) from error
    if size is not None and plain.size != (size[1], size[0]):
        plain = plain.resize((size[1], size[0]))
    pixels = np.asarray(plain, np.uint8)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def written(pixels: NDArray[np.uint8]) -> list[bytes]:
    """Return arrays of pixels as PNG files, from which `decoded` reads the same pixels.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n_rows, channels, height, width)
        With 1 or 3 channels.

    Examples
    --------
    >>> pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    >>> bool((decoded(written(pixels), channels=3, size=None, who="demo") == pixels).all())
    True
    """
    found = []
    for each in pixels:
        file = io.BytesIO()
        Image.fromarray(each[0] if len(each) == 1 else each.transpose(1, 2, 0)).save(file, "PNG")
        found.append(file.getvalue())
    return found

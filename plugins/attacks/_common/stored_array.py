"""Arrays as JSON data, for a state's memory: base64 of float32, little-endian, row by row; 5.3 bytes per entry."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode_array(array: NDArray[np.floating[Any]]) -> str:
    """The text from which `decode_array` makes the array, rounded to float32."""
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def decode_array(text: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Inverse of `encode_array`, for an array of this shape."""
    found: NDArray[np.float32] = np.frombuffer(base64.b64decode(text), dtype="<f4").reshape(shape)
    return found

"""A perturbation of activations as plain data: what a latent attack finds besides its string."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from harness.tokens.tokenizer import Floats

SLACK = 1e-3  # by which a norm may exceed the radius: activations are rounded, and other rows round otherwise


@dataclass(frozen=True, slots=True)
class Latent:
    """What is added to the activations at the tokens of the attack string.

    Attributes:
        layer: 0: to the input embeddings; l: to the output of decoder layer l, counted from 1.
        shape: (S, H): tokens of the string, width of the activations.
        data: the entries, row by row: base64 of float32, little-endian; 5.3 bytes each.
    """

    layer: int
    shape: tuple[int, int]
    data: str

    @classmethod
    def of(cls, delta: Floats, layer: int) -> Latent:
        """From a perturbation [S, H] of the activations of ``layer``; it is rounded to float32."""
        rows = np.asarray(delta, dtype="<f4")
        return cls(layer, (rows.shape[0], rows.shape[1]), base64.b64encode(rows.tobytes()).decode())

    @property
    def array(self) -> Floats:
        """The perturbation, shape [S, H]."""
        return np.frombuffer(base64.b64decode(self.data), dtype="<f4").reshape(self.shape).astype(np.float64)

    @property
    def length(self) -> float:
        """The largest L2 norm of a token's perturbation."""
        return float(np.linalg.norm(self.array, axis=1).max())

    def beyond(self, radius: float, scale: float) -> bool:
        """Whether it is longer than ``radius`` times the mean norm ``scale`` of the activations that it is added to."""
        return self.length > radius * scale * (1 + SLACK)

    def to_json(self) -> dict[str, Any]:
        """JSON data from which `from_json` makes the same."""
        return {"layer": self.layer, "shape": list(self.shape), "data": self.data}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Latent:
        """Inverse of `to_json`.

        Raises:
            ValueError, TypeError, LookupError: it is no perturbation.
        """
        tokens, width = (index(n) for n in data["shape"])
        found = cls(index(data["layer"]), (tokens, width), str(data["data"]))
        found.check(tokens)
        return found

    def check(self, tokens: int) -> None:
        """Check that the data hold a finite perturbation of so many tokens. Raises ValueError, TypeError."""
        layer, rows, width = index(self.layer), *map(index, self.shape)
        if layer < 0 or width < 1 or rows != tokens or not tokens:
            raise ValueError(f"a perturbation [{rows}, {width}] of layer {layer} does not fit {tokens} tokens")
        try:
            size = len(base64.b64decode(self.data, validate=True))
        except binascii.Error as error:
            raise ValueError(f"a perturbation's data are not base64 ({error})") from None
        if size != 4 * rows * width:
            raise ValueError(f"a perturbation [{rows}, {width}] has {4 * rows * width} bytes of float32, found {size}")
        if not np.isfinite(self.array).all():
            raise ValueError("a perturbation has an entry that is not finite")

"""What packed forwards cost: FLOPs that are really run, and an estimate of a call's overhead to plan with."""

from __future__ import annotations

from dataclasses import dataclass

from harness.engine.torch.flop_counter import FUSED_BACKWARD, FlopCount
from harness.engine.torch.scoring.packed.last_layer_trim import LastLayerTrim
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece

# Seconds per call and layer, FLOP/s, seconds per token and layer apart from products: constants, so that what is
# computed does not depend on the clock.
_CPU, _CUDA = (100e-6, 6e10, 4e-7), (40e-6, 1e14, 1e-8)


@dataclass(frozen=True, slots=True)
class ScoringFlops:
    """Of one model.

    Attributes:
        executed: coefficients of the model's body.
        tail: what is run on the last tokens alone.
        per_read: FLOPs of the head per token that is read.
        on_gpu: where it runs.
    """

    executed: FlopCount
    tail: LastLayerTrim
    per_read: float
    on_gpu: bool

    def computed(self, piece: ReusePiece) -> float:
        """FLOPs of the body on one piece: linear layers, its own squares, and its rectangle with the prefix."""
        return self.executed.per_token * piece.tokens + self.executed.per_pair * piece.tokens * self._keys(piece)

    def read(self, piece: ReusePiece, keep: int) -> float:
        """FLOPs of a piece of which the last ``keep`` tokens of each row are read, head included."""
        linear, attention = self._parts(piece, keep)
        return linear + attention

    def gradient(self, piece: ReusePiece, keep: int) -> float:
        """FLOPs of `read` and of going back to the embeddings; weights get no gradients."""
        linear, attention = self._parts(piece, keep)
        return 2 * linear + (1 + FUSED_BACKWARD) * attention

    def _parts(self, piece: ReusePiece, keep: int) -> tuple[float, float]:
        """What linear layers, head included, and what attention costs."""
        read = len(piece.rows) * keep
        left_out = piece.tokens - read
        pairs = (piece.tokens - left_out / self.tail.layers) * self._keys(piece)
        linear = self.executed.per_token * piece.tokens - self.tail.per_token * left_out + self.per_read * read
        return linear, self.executed.per_pair * pairs

    @property
    def overhead(self) -> float:
        """What the calls for one more piece cost, in tokens."""
        call, rate, token = _CUDA if self.on_gpu else _CPU
        return self.tail.layers * call / (self.executed.per_token / rate + self.tail.layers * token)

    @staticmethod
    def _keys(piece: ReusePiece) -> int:
        return piece.cut + int(piece.ids.shape[1])

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
    """FLOPs of one model's packed forwards.

    Attributes:
        flop_count: coefficients of the model's body.
        trim: what is run on the last tokens alone.
        read_flops: FLOPs of the head per token that is read.
        on_gpu: where it runs.
    """

    flop_count: FlopCount
    trim: LastLayerTrim
    read_flops: float
    on_gpu: bool

    def body(self, piece: ReusePiece) -> float:
        """FLOPs of the body on one piece: linear layers, its own squares, and its rectangle with the prefix."""
        return self.flop_count.per_token * piece.tokens + self.flop_count.per_pair * piece.tokens * self._keys(piece)

    def forward(self, piece: ReusePiece, read_last: int) -> float:
        """FLOPs of a piece of which the last ``read_last`` tokens of each row are read, head included."""
        linear, attention = self._linear_and_attention(piece, read_last)
        return linear + attention

    def gradient(self, piece: ReusePiece, read_last: int) -> float:
        """FLOPs of `forward` and of going back to the embeddings; weights get no gradients."""
        linear, attention = self._linear_and_attention(piece, read_last)
        return 2 * linear + (1 + FUSED_BACKWARD) * attention

    def _linear_and_attention(self, piece: ReusePiece, read_last: int) -> tuple[float, float]:
        """FLOPs of linear layers, head included, and of attention."""
        read = len(piece.rows) * read_last
        left_out = piece.tokens - read
        pairs = (piece.tokens - left_out / self.trim.layers) * self._keys(piece)
        linear = self.flop_count.per_token * piece.tokens - self.trim.per_token * left_out + self.read_flops * read
        return linear, self.flop_count.per_pair * pairs

    @property
    def piece_overhead(self) -> float:
        """What the calls for one more piece cost, in tokens."""
        call, rate, token = _CUDA if self.on_gpu else _CPU
        return self.trim.layers * call / (self.flop_count.per_token / rate + self.trim.layers * token)

    @staticmethod
    def _keys(piece: ReusePiece) -> int:
        """How many keys each query of a piece is multiplied with."""
        return piece.start + int(piece.ids.shape[1])

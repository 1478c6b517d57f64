"""How much memory a stage takes at most, from sizes that are known before anything is loaded.

Upper bounds: what a run takes lies below, and above a third of it (tests/run/test_memory.py). Of the
process: what a machine has to have free besides the operating system. Of the GPU: where the model lies on one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.api.model.shape import Memory, MemoryFacts
from harness.api.task import TaskData
from harness.api.threat import Access
from harness.api.training import Lora
from harness.api.victim import Victim, VictimCard
from harness.engine.torch.memory.fixed_limits import (
    max_chunk_tokens,
    max_head_values,
    prefix_cache_bytes,
    prefix_copy_bytes,
)
from harness.run.plan.rate import has_gpu

PROCESS = 560 << 20  # Python, torch, transformers, a task's data; measured
CUDA = 1 << 30  # what CUDA's libraries take in a process, and on the GPU
ENGINE = 1 << 30  # a vLLM engine without its weights and cache
_ENGINE_TOKENS, _ENGINE_BATCH = 32_768, 2_048  # of its cache, and per step: see `harness.engine.vllm.engine_options`
_ENGINE_CACHE = {False: 4 << 30, True: 8 << 30}
TOGETHER = 64  # examples that run side by side, as `harness.engine.search.search.Search` has it
_FLOAT32 = 4
_LABEL_TOKENS = 4  # positions per prompt whose output over the whole vocabulary is trained
_ITEMSIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


def largest(stages: Iterable[Memory | None], jobs: int = 1) -> Memory | None:
    """Of stages that run one after another in each of ``jobs`` processes; None where nothing is known."""
    known = [memory for memory in stages if memory is not None]
    if not known:
        return None
    return Memory(jobs * max(m.process for m in known), jobs * max(m.gpu for m in known))


@dataclass(frozen=True, slots=True)
class VictimMemory:
    """Of one victim, for prompts of one length.

    Attributes:
        facts: None where the victim does not tell.
        tokens: average length of a prompt, attack string included.
        local: whether the model runs here.
        planned_gpu: whether the plan is for a machine with a GPU, whether or not this one has any.
    """

    facts: MemoryFacts | None
    tokens: float
    local: bool = True
    planned_gpu: bool = False

    @classmethod
    def of(
        cls, victim: Victim, data: TaskData, card: VictimCard, tokens: float, *, planned_gpu: bool = False
    ) -> VictimMemory:
        """What the victim tells; a plan must not be lost for a plugin's mistake."""
        try:
            return cls(victim.memory(data) if card.local else None, tokens, card.local, planned_gpu)
        except (Exception, SystemExit):
            return cls(None, tokens, card.local)

    @property
    def device(self) -> str:
        """Where the victim says that it is computed."""
        return "cpu" if self.facts is None else self.facts.device

    @property
    def prepare(self) -> Memory | None:
        """Training in float32, or just loading and saving."""
        if self.facts is None:
            return self._without_facts
        weights = _FLOAT32 * self.facts.n_params
        return self._training(self.facts) if self.facts.batch else Memory(PROCESS + 2 * weights)

    def attack(self, examples: int, access: Access) -> Memory | None:
        """What an attack on so many examples takes at most, with that access to the victim."""
        facts = self.facts
        if facts is None:
            return self._without_facts
        row, shape, on_gpu = self._row, facts.shape, self._on_gpu
        itemsize = _ITEMSIZES.get(facts.dtype, 2 if on_gpu else _FLOAT32)
        most, together, kept = (
            max_chunk_tokens(on_gpu, shape.intermediate * itemsize),
            min(TOGETHER, examples),
            shape.kept(itemsize),
        )
        forward = most * (shape.forward(row, itemsize) + kept)
        if facts.reads_vocabulary:
            forward += 3 * _FLOAT32 * min(max_head_values(on_gpu), most * shape.vocabulary)
        backward = 0.0
        if access in ("gradient", "latent"):
            backward = min(most, together * row) * shape.backward(row, itemsize)
            backward += shape.vocabulary * (shape.hidden * itemsize + 16 * row)
        work = _weights(facts, itemsize) + max(forward, backward)
        work += 2 * min(prefix_cache_bytes(on_gpu), together * row * kept)
        work += min(prefix_copy_bytes(on_gpu), most * row * kept / shape.layers)
        placed = self._placed(facts, work)
        if not facts.engine:
            return placed
        engine = itemsize * facts.n_params + min(_ENGINE_CACHE[on_gpu], _ENGINE_TOKENS * kept)
        engine += 2 * _FLOAT32 * _ENGINE_BATCH * shape.vocabulary
        if on_gpu:
            return Memory(placed.process + ENGINE, placed.gpu + CUDA + engine)
        return Memory(placed.process + ENGINE + engine)

    def defend(self, lora: Lora | None = None) -> Memory | None:
        """A round of training that attacks training examples first; the model attacked may stay loaded meanwhile.

        Args:
            lora: the adapter that is trained in place of the weights, if one is.
        """
        searched = self.attack(TOGETHER, "gradient")
        if self.facts is None or searched is None:
            return searched
        facts = self.facts if self.facts.batch else replace(self.facts, batch=16)
        if lora is not None:
            share = min(1.0, facts.shape.adapter_parameters(lora.r) / facts.n_params)
            facts = replace(facts, trained=share, states=2.0)  # of AdamW, which is little here
        trained = self._training(facts)
        more = _weights(self.facts, _FLOAT32)
        if trained.gpu:
            return Memory(max(searched.process, trained.process), max(searched.gpu, trained.gpu + more))
        return Memory(max(searched.process, trained.process + more))

    def _training(self, facts: MemoryFacts) -> Memory:
        row = self._row + 1.5 * (facts.reply_tokens or 0)
        shape, batch_tokens = facts.shape, facts.batch * row
        # Weights; of those that change, gradients, what the optimiser keeps and what it computes with.
        frozen = facts if facts.trained < 1 else replace(facts, weight_bytes=None)  # what is quantised is not trained
        work = _weights(frozen, _FLOAT32) + facts.trained * (2 + facts.states) * _FLOAT32 * facts.n_params
        work += batch_tokens * shape.backward(row, _FLOAT32)
        if facts.reads_vocabulary:
            # Rows of a batch are read at the same places: wherever one of them is to say something.
            read = _LABEL_TOKENS if facts.reply_tokens is None else row
            work += 3 * _FLOAT32 * facts.batch * shape.vocabulary * read
        return self._placed(facts, work)

    def _placed(self, facts: MemoryFacts, work: float) -> Memory:
        """``work`` where the model lies; a file of weights is read in the process first."""
        file = _FLOAT32 * facts.n_params
        if self._on_gpu:
            return Memory(PROCESS + CUDA + 2 * file, CUDA + work)
        return Memory(PROCESS + max(2 * file, work))

    @property
    def _on_gpu(self) -> bool:
        """Whether the model goes to a GPU."""
        at_hand = self.planned_gpu or has_gpu()
        return self.device.startswith("cuda") or (self.device in ("auto", "spread") and at_hand)

    @property
    def _row(self) -> float:
        return 1.5 * self.tokens  # some prompts are longer than the average

    @property
    def _without_facts(self) -> Memory | None:
        return None if self.local else Memory(PROCESS)


def _weights(facts: MemoryFacts, itemsize: int) -> float:
    """Bytes of the weights, and of quantised ones the matrix that is being unpacked."""
    if facts.weight_bytes is None:
        return itemsize * facts.n_params
    return facts.weight_bytes * facts.n_params + itemsize * facts.shape.hidden * facts.shape.intermediate

"""Plugins that go wrong, each in one way; given to runs with ``--plugin``."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from harness import Attack, Chunk, DataError, Edit, Example, Score, State, Task, TaskData, Victim, VictimCard, hookimpl


class Raises(Attack):
    """Raises in its second step, unless a file is there."""

    name = "raises"

    class Params(Attack.Params):
        mended: str = Field("/nowhere", description="file whose being there keeps it from raising")

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        losses = yield Score(state.array[None])
        count = state.memory.get("steps", 0)
        if count and not Path(self.params.mended).exists():
            raise ValueError("no luck")
        return State(state.tokens, float(losses[0]), {"steps": count + 1})


class Garbage(Attack):
    """Returns a state that is none."""

    name = "garbage"

    class Params(Attack.Params):
        sort: str = "none"

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        yield Score(problem.random_tokens(rng, 1))
        return {
            "none": None,
            "text": State(("a", "b")),
            "numpy": State(tuple(state.array), np.float32(1.0)),
            "deep": State(tuple(state.tokens), 1.0, {"x": object()}),
            "negative": State(tuple(-1 for _ in state.tokens)),
        }[self.params.sort]


class Exits(Attack):
    """Ends the interpreter, or tries to."""

    name = "exits"

    class Params(Attack.Params):
        hard: bool = False

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        yield Score(state.array[None])
        if problem.example.id == "rehearsal":
            return state
        if self.params.hard:
            os._exit(9)
        raise SystemExit("bye")


class Endless(Attack):
    """Asks for ever."""

    name = "endless"

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        while True:
            yield Score(state.array[None])


class Merging(Attack):
    """Tries strings of single letters, which the tokenizer merges."""

    name = "merging"

    def start(self, problem, rng):
        (one,) = problem.tokenizer.encode(["rain"])
        letters = [problem.tokenizer.encode([letter])[0][0] for letter in "rain"]
        assert len(one) < 4
        return problem.state(np.asarray(letters))

    def step(self, state, problem, rng):
        yield Score(state.array[None])
        return state


class Unprepared(Victim):
    """Cannot be prepared; counts how often it was tried."""

    name = "unprepared"

    class Params(Victim.Params):
        tries: str

    def card(self, data):
        return VictimCard("unprepared", 10, None, "gradient", 512)

    def estimate(self, data):
        raise RuntimeError("cannot say either")

    def prepare(self, job):
        with Path(self.params.tries).open("a") as file:
            file.write("x")
        raise ValueError("broken beyond\nrepair")

    def open(self, folder, data):
        raise AssertionError("never reached")


class Lost(Task):
    """Data that is not there; counts how often it was asked for."""

    name = "lost"

    class Params(Task.Params):
        tries: str

    def load(self):
        path = Path(self.params.tries)
        if path.with_suffix(".found").exists():
            return LongOne().load()
        with path.open("a") as file:
            file.write("x")
        raise DataError("rows.csv: no such file")


class LongOne(Task):
    """Weather or food, one example of it far longer than any context."""

    name = "long_one"

    def load(self):
        return TaskData((" WEATHER", " FOOD"), self._rows("train"), self._rows("validation"))

    def _rows(self, split):
        words = (["rain", "snow", "wind"], ["bread", "cheese", "soup"])
        rows = []
        for i in range(20):
            text = " ".join(words[i % 2]) * (1 + 200 * (split == "validation" and i == 2))
            chunks = (Chunk(f"{i} words: {text}"), Chunk("", Edit.OVERWRITABLE), Chunk("\nAnswer:"))
            rows.append(Example(f"{split}-{i:05d}", chunks, i % 2, 1 - i % 2))
        return rows


class AllLong(LongOne):
    """Weather or food, all examples far longer than any context."""

    name = "all_long"

    def _rows(self, split):
        return [
            replace(row, chunks=(Chunk(row.text * 200 if split == "validation" else row.text), *row.chunks[1:]))
            for row in super()._rows(split)
        ]


@hookimpl
def harness_register_attacks(register):
    for attack in (Raises, Garbage, Exits, Endless, Merging):
        register(attack)


@hookimpl
def harness_register_victims(register):
    register(Unprepared)


@hookimpl
def harness_register_tasks(register):
    register(Lost)
    register(LongOne)
    register(AllLong)

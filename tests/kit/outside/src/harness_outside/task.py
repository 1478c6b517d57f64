"""A generated task."""

import random

from pydantic import Field, PositiveInt

from harness import Chunk, Edit, Example, Task, TaskData, hookimpl

WORDS = {0: ["rain", "snow", "wind", "storm", "cloud"], 1: ["bread", "cheese", "apple", "soup", "rice"]}


class WeatherOrFood(Task):
    """Is a list of words about the weather or about food?"""

    name = "weather_or_food"

    class Params(Task.Params):
        size: PositiveInt = Field(200, le=500)

    def load(self):
        seen = set()
        train, validation = (self._rows(split, seen) for split in ("train", "validation"))
        return TaskData(labels=(" WEATHER", " FOOD"), train=train, validation=validation)

    def _rows(self, split, seen):
        rng = random.Random(f"weather_or_food/{split}")
        rows = []
        for i in range(self.params.size):
            label = i % 2
            words = None
            while words is None or words in seen:  # no prompt stands in both splits
                words = " ".join(rng.choice(WORDS[label]) for _ in range(4))
            seen.add(words)
            chunks = (Chunk(f"Words: {words}"), Chunk("", Edit.OVERWRITABLE), Chunk("\nAnswer:"))
            rows.append(Example(f"{split}-{i:05d}", chunks, label, 1 - label))
        return rows


@hookimpl
def harness_register_tasks(register):
    register(WeatherOrFood)

"""A generated task."""

import random

from pydantic import PositiveInt

from harness import Chunk, Edit, Example, Task, TaskData, hookimpl

WORDS = {0: ["rain", "snow", "wind", "storm", "cloud"], 1: ["bread", "cheese", "apple", "soup", "rice"]}


class WeatherOrFood(Task):
    """Is a list of words about the weather or about food?"""

    name = "weather_or_food"

    class Params(Task.Params):
        size: PositiveInt = 200

    def load(self):
        return TaskData(labels=(" WEATHER", " FOOD"), train=self._rows("train"), validation=self._rows("validation"))

    def _rows(self, split):
        rng = random.Random(f"weather_or_food/{split}")
        rows = []
        for i in range(self.params.size):
            label = i % 2
            words = " ".join(rng.choice(WORDS[label]) for _ in range(4))
            chunks = (Chunk(f"Words: {words}"), Chunk("", Edit.OVERWRITABLE), Chunk("\nAnswer:"))
            rows.append(Example(f"{split}-{i:05d}", chunks, label, 1 - label))
        return rows


@hookimpl
def harness_register_tasks(register):
    register(WeatherOrFood)

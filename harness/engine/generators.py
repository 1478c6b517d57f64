"""Runs what plugins write as generators: the one place where their requests, results and errors are taken."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.errors import HarnessError, PluginError

Key = TypeVar("Key")
Result = TypeVar("Result")


def call_plugin(where: str, method: Callable[..., Result], *args: Any) -> Result:
    """What a plugin's method returns.

    Args:
        where: whose method it is and what it is about, for messages.

    Raises:
        PluginError: it raised.
    """
    try:
        return method(*args)
    except Exception as error:
        raise _raised(where, error) from error


@dataclass(frozen=True, slots=True)
class Returned:
    """The end of a generator, with what it returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class PluginGenerator:
    """A plugin's generator under way.

    Attributes:
        where: whose it is and what it is about, for messages.
        generator: as the plugin made it.
    """

    where: str
    generator: Generator[Any, Any, Any]

    @classmethod
    def begin(cls, where: str, method: Callable[..., Any], *args: Any) -> PluginGenerator:
        """Call a method that is written as a generator; none of its code has run yet.

        Raises:
            PluginError: it raised, or is no generator.
        """
        generator = call_plugin(where, method, *args)
        if not hasattr(generator, "send"):
            name = getattr(method, "__name__", "it")
            raise PluginError(
                f"{where}: {name}() returned {type(generator).__name__}; it must be a generator: yield requests, "
                "return the result"
            )
        return cls(where, generator)

    def send(self, answer: Any) -> Any | Returned:
        """Let it run to its next request, which is given back, or to its end.

        Args:
            answer: to the request before; None at first.

        Raises:
            PluginError: it raised.
        """
        try:
            return self.generator.send(answer)
        except StopIteration as stop:
            return Returned(stop.value)
        except Exception as error:
            raise _raised(self.where, error) from error


def run_generators(
    generators: Mapping[Key, PluginGenerator], answer: Callable[[dict[Key, Any]], Mapping[Key, Any]]
) -> dict[Key, Any]:
    """Run generators side by side to their ends, their requests answered together.

    Args:
        answer: answers the requests that stand open; a generator whose request it leaves out is given up.

    Returns:
        what each returned, those given up left out.

    Raises:
        PluginError: one raised.
    """
    returned: dict[Key, Any] = {}
    answers: Mapping[Key, Any] = dict.fromkeys(generators)
    while answers:
        requests: dict[Key, Any] = {}
        for key, own in answers.items():
            reached = generators[key].send(own)
            if isinstance(reached, Returned):
                returned[key] = reached.value
            else:
                requests[key] = reached
        answers = answer(requests) if requests else {}
    return returned


def _raised(where: str, error: Exception) -> PluginError:
    what = str(error) if isinstance(error, HarnessError) else f"raised {type(error).__name__}: {error}"
    return PluginError(f"{where}: {what}")

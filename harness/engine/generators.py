"""Runs what plugins write as generators: the one place where their requests, results and errors are taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from harness.errors import HarnessError, PluginError

Key = TypeVar("Key")
Result = TypeVar("Result")
PluginCall = tuple[str, Callable[[], Any]]
"""Whose method it is and what it is about, for messages; and what calls it."""


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


def run_generators(
    calls: Mapping[Key, PluginCall], answer: Callable[[dict[Key, Any]], Mapping[Key, Any]]
) -> dict[Key, Any]:
    """Run methods that are written as generators side by side to their ends, their requests answered together.

    Args:
        answer: answers the requests that stand open; a generator whose request it leaves out is given up.

    Returns:
        what each returned, those given up left out.

    Raises:
        PluginError: one raised, or is no generator.
    """
    generators = {key: call_plugin(where, method) for key, (where, method) in calls.items()}
    for key, generator in generators.items():
        if not hasattr(generator, "send"):
            raise PluginError(
                f"{calls[key][0]}: returned {type(generator).__name__}; it must be a generator: yield requests, "
                "return the result"
            )
    returned: dict[Key, Any] = {}
    answers: Mapping[Key, Any] = dict.fromkeys(generators)
    while answers:
        requests: dict[Key, Any] = {}
        for key, own in answers.items():
            try:
                requests[key] = generators[key].send(own)
            except StopIteration as stop:
                returned[key] = stop.value
            except Exception as error:
                raise _raised(calls[key][0], error) from error
        answers = answer(requests) if requests else {}
    return returned


def _raised(where: str, error: Exception) -> PluginError:
    what = str(error) if isinstance(error, HarnessError) else f"raised {type(error).__name__}: {error}"
    return PluginError(f"{where}: {what}")

"""States as an attack returns them: plain data, from which a stopped run can go on."""

from __future__ import annotations

import json
from operator import index
from typing import Any

from harness.api.attack import Attack
from harness.api.problem.state import State
from harness.api.threat import Access, allows
from harness.errors import AccessError, PluginError


def check_state(value: Any, attack: Attack, granted: Access, where: str) -> State:
    """The state as plain data, with a perturbation only where there may be one.

    Args:
        granted: the threat model's access.
        where: for messages.

    Raises:
        PluginError: it is no state, no plain data, or brings a perturbation that the attack did not announce.
        AccessError: it brings one that the threat model does not grant.
    """
    state = _plain(value, where)
    if state.latent is not None and not allows(granted, "latent"):
        raise AccessError(f"{where}: returned a perturbation, the threat model grants {granted}")
    if state.latent is not None and attack.access != "latent":
        raise PluginError(
            f"{where}: returned a perturbation, but its access is {attack.access!r}; write access = 'latent', so that "
            "it is not ranked beside text attacks"
        )
    return state


def _plain(value: Any, where: str) -> State:
    if not isinstance(value, State):
        raise PluginError(f"{where}: returned {type(value).__name__}; it must return a State")
    try:
        json.dumps(value.memory)
        loss = None if value.loss is None else float(value.loss)
        if value.latent is not None:
            value.latent.check(len(value.tokens))
        return State(tuple(index(token) for token in value.tokens), loss, value.memory, value.latent)
    except (AttributeError, TypeError, ValueError) as error:
        raise PluginError(
            f"{where}: its State is no plain data ({error}); tokens are integers, memory is what json.dumps takes, "
            "latent is what Latent.of makes"
        ) from None

"""One harmless question when a server's model is opened: does it answer at all, and how must it be asked?"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from harness import VictimError
from plugins.victims._openai.completions import Completions
from plugins.victims._openai.http_client import Refusal
from plugins.victims._openai.server_probe import ServerProbe
from plugins.victims._openai.text_answers import QUESTION, RequestForm, ServedModel, TextAnswers


def with_known_form(completions: Completions, probe: ServerProbe, served: ServedModel) -> ServedModel:
    """The model, asked in the first form of requests that the server takes. Refusals are counted from 0 afterwards.

    Raises:
        VictimError: it takes none; its filter refuses even this question; it takes no temperature of 0, and nobody said
            that answers may be sampled.
    """
    name, refusals = f"{completions.base_url}: {completions.model}", dict[RequestForm, Refusal]()
    for form in _forms():
        answer = TextAnswers(completions, probe, replace(served, form=form)).refusal_of_question()
        if answer is None:
            break
        if answer.error.by_filter:
            raise VictimError(f"{name} does not answer {QUESTION!r}: its filter refuses what is harmless ({answer})")
        refusals[form] = answer
    else:
        raise VictimError(f"{name} does not answer {QUESTION!r}: {next(iter(refusals.values()))}")
    if not form.temperature and not completions.sampled:
        words = refusals[replace(form, temperature=True)]
        raise VictimError(
            f"{name} refuses temperature: 0 ({words}), so its answers are sampled, and differ when it is asked again; "
            "write sampled: true to use them as they come, or use another model"
        )
    completions.forget_refusals()
    return replace(served, form=form)


def _forms() -> list[RequestForm]:
    """What may be sent, by preference; the temperature goes last, since it changes what is answered."""
    return [
        RequestForm(length, seed=seed, temperature=temperature)
        for temperature, seed, length in product((True, False), (True, False), ("max_tokens", "max_completion_tokens"))
    ]

"""Whether a request for a text got an answer, a refusal, or neither."""

from __future__ import annotations

from typing import Final, Literal, get_args

AnswerState = Literal["answered", "refused", "cut_off", "empty", "failed"]
"""What a request for a text came to: ``answered``, with a text to judge, which may be cut at its end; ``refused`` by a
filter of the server, or marked by it as a refusal; ``cut_off`` before the answer began, as within reasoning; ``empty``,
ended without a word; ``failed``, the server did not take the request or answered with an error.
"""

ANSWER_STATES: Final[tuple[AnswerState, ...]] = get_args(AnswerState)

NO_ANSWER: Final[frozenset[AnswerState]] = frozenset({"cut_off", "empty", "failed"})
"""Neither an answer nor a refusal: nothing that a judge could judge."""

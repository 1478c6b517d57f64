from .marker import (
    conforms as conforms,
)
from .plugin_under_test import (
    Subject as Subject,
    subject_of as subject_of,
)
from .results import (
    Check as Check,
    Finding as Finding,
    NotApplicableError as NotApplicableError,
    UnmetError as UnmetError,
)
from .runner import (
    check_plugin as check_plugin,
    checks_for as checks_for,
    run_check as run_check,
    run_checks as run_checks,
)
from .toys.backend import (
    ToyBackend as ToyBackend,
    ToyLatent as ToyLatent,
    toy_examples as toy_examples,
    toy_tokenizer as toy_tokenizer,
)
from .toys.examples import (
    Case as Case,
    Choose as Choose,
    made_up as made_up,
    ordinary as ordinary,
)
from .toys.faulty import (
    Numberless as Numberless,
    Says as Says,
)
from .toys.language_model import (
    ToyLanguageModel as ToyLanguageModel,
)
from .toys.plugins import (
    ToyJudge as ToyJudge,
)
from .toys.tokenizers import (
    tokenizer_of as tokenizer_of,
)

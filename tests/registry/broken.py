"""Third-party packages that are broken, each in its own way: their files, and what must be said of them.

A case is the source of the module ``NAME.py`` (or files by name) of a distribution ``NAME-dist``, and words that the
line which names it must hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.registry.outside import attack


@dataclass(frozen=True)
class Broken:
    """One broken package.

    Attributes:
        files: by name; a text alone is ``NAME.py``.
        points: entry points; None: one for each file.
        works: whether its plugin is there all the same.
        latin: whether its source is written in Latin 1.
        metadata: instead of proper metadata.
    """

    files: str | dict[str, str]
    words: list[str]
    points: dict[str, str] | None = None
    works: bool = False
    latin: bool = False
    metadata: str | None = None
    env: dict[str, str] = field(default_factory=dict)


HOOK = "from harness import hookimpl\n@hookimpl\ndef "
MISSPELT = attack().replace("harness_register_attacks", "harness_register_atacks")
ARGUMENT = attack().replace("(register)", "(registr)").replace("register(Outside)", "registr(Outside)")
JUDGE_AS_ATTACK = attack().replace("import Attack", "import Judge as Attack")
ABSTRACT = attack(cls="Lame").replace("def step", "def stepp")


def works(name: str, before: str) -> str:
    """A module that does something at import and then registers a proper attack."""
    return before + "\n" + attack(f"{name}_attack", "Outside")


CASES: dict[str, Broken] = {
    "raises": Broken("raise RuntimeError('no luck')", ["RuntimeError: no luck", "raises.py:1"]),
    "import_error": Broken("from json import surely_not_there", ["ImportError", "surely_not_there"]),
    "syntax": Broken("def f(:\n    pass", ["SyntaxError", "syntax.py", "line 1"]),
    "lacks": Broken("import surely_not_installed", ["ModuleNotFoundError", "surely_not_installed"]),
    "misspelt": Broken(MISSPELT, ["harness_register_atacks of 'misspelt'", "did you mean 'harness_register_attacks'?"]),
    "unmarked": Broken(attack().replace("@hookimpl", ""), ["is not marked", "@hookimpl"]),
    "argument": Broken(ARGUMENT, ["argument 'registr'", "did you mean 'register'?"]),
    "hookless": Broken("x = 1", ["has no function marked with @hookimpl"]),
    "twin": Broken(
        attack("gcg", "Twin"), ["two attacks are called 'gcg'", "robustness-harness", "twin.Twin of twin-dist"]
    ),
    "slow": Broken(
        works("slow", "import time; time.sleep(4.2)"), ["it took", "which delays every command"], works=True
    ),
    "leaves": Broken("import sys\nsys.exit(3)", ["SystemExit: 3"]),
    "loud": Broken(
        works("loud", "for i in range(20_000): print('x' * 100)"), ["it printed 2,020,000 characters"], works=True
    ),
    "seeds": Broken(works("seeds", "import random; random.seed(0)"), ["it changed the random state"], works=True),
    "moves": Broken(works("moves", "import os; os.chdir('/')"), ["it changed the working directory"], works=True),
    "deaf": Broken(
        works("deaf", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"),
        ["it changed what Ctrl-C does"],
        works=True,
    ),
    "latin": Broken("x = 'é'\n" + attack(), ["SyntaxError", "latin.py"], latin=True),
    "circular": Broken(
        {"circular.py": "from circular_b import b\na = 1", "circular_b.py": "from circular import a\nb = 2"},
        ["ImportError", "circular import"],
        {"circular": "circular"},
    ),
    "recursive": Broken("def f(): return f()\nf()", ["RecursionError"]),
    "wrong_base": Broken(JUDGE_AS_ATTACK, ["does not inherit from Attack; it is a judge"]),
    "nameless": Broken(attack(name=""), ["it has no name; add"]),
    "abstract": Broken(ABSTRACT, ["attack class abstract.Lame", "lacks the method step", "harness.Attack"]),
    "instance": Broken(attack().replace("register(Outside)", "register(Outside())"), ["is not a class"]),
    "nowhere": Broken({}, ["ModuleNotFoundError", "surely_nowhere"], {"nowhere": "surely_nowhere"}),
    "no_attribute": Broken(attack(), ["AttributeError", "no_such_thing"], {"x": "no_attribute:no_such_thing"}),
    "nameless_metadata": Broken(
        attack(), ["the metadata in", "cannot be read", "install it again"], metadata="Metadata-Version: 2.1\n\nx"
    ),
    "midway": Broken(
        attack("half", "Half") + "    raise KeyError('later')\n", ["failed while registering", "KeyError"]
    ),
    "garbage": Broken(HOOK + "harness_plugin_modules():\n    return 3\n", ["failed while registering", "TypeError"]),
    "unversioned": Broken(
        HOOK + "harness_results_version():\n    return 3\n", ["harness_results_version gives 3", "such as '1.2.0'"]
    ),
    "unheard": Broken(
        HOOK + "harness_results_version():\n    return 'the newest'\n", ["harness_results_version gives 'the newest'"]
    ),
    "ahead": Broken(
        HOOK + "harness_results_version():\n    return '1.10'\n",
        ["gives '1.10', which is later than the"],
    ),
    "listing": Broken(HOOK + "harness_plugin_modules():\n    return [3]\n", ["dotted names of modules"]),
    "thread": Broken(
        works(
            "thread", "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), name='mine').start()"
        ),
        ["it left the thread 'mine' running"],
        works=True,
    ),
    "closes": Broken("import sys\nsys.stdout.close()\nsys.stderr.close()\nraise OSError('shut')", ["OSError: shut"]),
    "mute": Broken(
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        ["Mute: its message cannot be printed"],
    ),
    "verbose": Broken("raise ValueError('y' * 1_000_000)", ["ValueError: yyy", "..."]),
    "base": Broken("class Own(BaseException): pass\nraise Own('deep')", ["Own: deep"]),
    "params": Broken(
        attack().replace("    def start", "    class Params:\n        x: int = 1\n\n    def start", 1),
        ["its Params does not inherit from Attack.Params"],
    ),
    "access": Broken(attack().replace('name = "outside"', 'name = "outside"\n    access = "all"'), ["access is 'all'"]),
    "command": Broken(
        HOOK + "harness_register_commands(app):\n    raise IndexError('no command')\n",
        ["its commands cannot be added: ", "IndexError"],
    ),
}
FINE = {
    # The same class twice, and two entry points to one module, are no mistake.
    "twice": Broken(
        attack("twice_attack") + "    register(Outside)\n", [], {"one": "twice", "two": "twice"}, works=True
    )
}

"""Words of the tables that need explaining, in a sentence or two: shown where they stand."""

from __future__ import annotations

import re

TERMS = {
    "rank": "1 + the rows that are certainly harder to break: 1 is hardest. “2 – 4” ends with the last place that "
    "the row may have. “–”: the data allow no rank; the reason is below it. “Not told apart”: "
    "what the row costs to break is not certainly different from that of any other row it is ranked with.",
    "size": "All parameters of the model that was attacked. A victim's own name may give another count: "
    "tiny(size=150k) has about 150k parameters besides its embeddings.",
    "clean": "Without an attack: the share of clean examples answered correctly, or of prompts refused or answered as "
    "they should be. Only those are attacked.",
    "asr": "Attack success rate: the share of attacked examples that any attack broke within its full budget, which is "
    "all the steps that the spec gives it. Below: its 95% interval, and the strongest attack.",
    "answered": "The share of all prompts that end as the attacker wants, with or without an attack. The ASR next to "
    "it is over attacked prompts only.",
    "corrected": "The share of the strongest attack's last strings that succeed, after correcting for the "
    "judge's known errors. Ranks never use it.",
    "clean_utility": "The share of answers that do what the user asked, without an attack.",
    "under_attack": "The share of answers that still do what the user asked, under each attack.",
    "utility": "How much of the undefended victim's correct answers the defense loses, in points, with a 95% interval. "
    "0 or less: nothing is lost. “–”: there is nothing to compare with.",
    "breaking": "What an attacker spends per example until the cheapest attack breaks the target share of examples, "
    "in FLOPs. “Not broken”: no attack got there within its budget. “× reference”: as a multiple of what it took to "
    "train the victim.",
    "cost": "All that preparing the defense took: its training, search and fitting. “× reference”: as a multiple of "
    "what it took to train the victim. 0: nothing had to be prepared.",
    "overhead": "What the defense adds to each answer, in FLOPs, and as a multiple of what an undefended answer takes. "
    "0: nothing. “–”: the records do not say.",
    "slope": "Over the rounds of a defense: by how many powers of ten the cost to break rises with each power of ten "
    "that the defender spends. Below 1 the attacker gains.",
    "examples": "How many examples were attacked, in how many seeds (independent repetitions: another model, or "
    "another search) and by how many attacks.",
    "round": "A defense that trains in rounds is measured after several of them; each is a row.",
    "adaptive": "The attacks searched through the defense: they knew about it.",
    "static": "The attacks searched on the undefended victim and knew nothing about the defense: this is not "
    "a worst case.",
    "not checked": "Read from a run directory without checks.",
    "as submitted": "Somebody's submission: it is consistent, and nobody has asked the victim again.",
    "verified": "The maintainer of this page has checked the submission against its spec; no victim was asked.",
    "replayed": "The maintainer of this page has asked the victim again with this many of the recorded strings.",
    "claimed": "Somebody brought strings that break more of this row, or for less. Ranks go by the common attacks.",
    "re-run": "Somebody else submitted the same cells; so many came out the same.",
    "tries": "How many runs the submitter made of this spec, as they say.",
    "registered": "The submitter says that the spec was registered before the run. “Found”: the file is in the "
    "repository of this page.",
    "erratum": "The maintainer of this page has noted a mistake; see the row's page.",
    "withdrawn": "The maintainer of this page has withdrawn the entry or the spec; the numbers stay for the record.",
    "near chance": "The victim is hardly better than guessing without any attack; what it costs to break says little.",
}


_SHARED = {"static": "adaptive", "clean_utility": "under_attack"}  # explained together with another


def term_anchor(name: str) -> str:
    """Where the page about the leaderboard explains ``name`` at length."""
    plain = name.partition(":")[0]
    return "term-" + re.sub("[ _]", "-", _SHARED.get(plain, plain))


_HEADINGS = {
    "asr": "ASR at full budget",
    "clean": "clean accuracy",
    "answered": "harmful prompts answered",
    "corrected": "ASR without the judge's errors",
    "clean_utility": "utility when clean",
    "under_attack": "utility under attack",
    "utility": "loss of utility",
    "breaking": "compute to the target ASR",
    "cost": "defense compute",
    "overhead": "overhead per answer",
    "slope": "offense–defense slope",
}


def term_heading(name: str) -> str:
    """What a term is called where it stands."""
    return _HEADINGS.get(name, name.replace("_", " "))


def term_text(name: str) -> str:
    """What ``name`` means; of a mark with more words behind it, such as “replayed: 3 of 5 strings”, what it begins with
    counts. "" where there is nothing to say.
    """
    return TERMS.get(name) or TERMS.get(name.partition(":")[0], "")

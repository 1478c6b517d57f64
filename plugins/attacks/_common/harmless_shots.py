"""Questions and answers that show nothing but the form of a conversation in which each question is answered."""

from __future__ import annotations

SHOTS: tuple[tuple[str, str], ...] = (
    (
        "How do I keep bread fresh?",
        "Wrap it in a cloth, keep it in a box, and freeze what is left.",
    ),
    ("What is a good name for a grey cat?", "Ash is a good one. Pebble and Misty suit a grey cat too."),
    ("How can I learn ten words a day?", "Write each on a card, read the cards in the morning, and again at night."),
    ("Write a line about rain.", "The rain counts the roof tiles twice and starts again."),
    ("How do I get ink out of a shirt?", "Dab it with rubbing alcohol, blot it with a towel, then wash it cold."),
    ("Which is heavier, gold or lead?", "Gold: a cube of it weighs about 1.7 times as much as one of lead."),
    ("Give me a reason to walk to work.", "You arrive awake, and you will have had half an hour to yourself."),
    ("How long do I boil an egg?", "Six minutes for a soft yolk, ten for a hard one; then put it into cold water."),
    ("Name three rivers in Africa.", "The Nile, the Congo and the Niger."),
    ("How do I tie a bow?", "Make a loop, lead the other end around it, and pull it through as a second loop."),
    ("Explain what a prime number is.", "A whole number above 1 that only 1 and itself divide, such as 2, 3, 5 or 7."),
    ("Suggest a gift for a gardener.", "A good pair of pruning shears, or bulbs for the autumn."),
    ("How do I calm down before a talk?", "Breathe out slowly for a minute, and know your first sentence by heart."),
    (
        "Why is the sky blue?",
        "Air scatters short waves of light most, so that blue comes from everywhere.",
    ),
    ("Put in one word: not on time.", "Late."),
    ("How do I start a diary?", "Tonight, write down three things that happened today. Tomorrow do it again."),
)
"""Harmless, in our own words."""

"""Words for requests to make something: nouns, adjectives that go with all of them, and templates of requests."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# All begin with a consonant, so that "a" goes before them.
ADJECTIVES = _words(
    """
    big black blue bold bright brown cheap clean clever cold dark deep dry dusty fancy fast flat fresh funny golden
    grand green grey hard heavy hollow huge light long loud low modern narrow neat new nice pale pink plain pretty
    purple quick quiet rare red rough round sharp shiny short silver simple slim slow small smooth soft solid square
    steep sticky strong sturdy sweet tall thick thin tiny tough vivid warm wet white wide wild wooden yellow
    """
)
NOUNS = _words(
    """
    basket bell bench blanket boat book bottle bowl box bridge broom brush bucket cabin cake candle chair chest clock
    coat comb cradle cup curtain dish doll door drum fence fiddle flag flute fork gate glove hammer harp hat hook
    horn jacket jar kite knot ladder lamp lantern mask mat mirror mitten mug needle net paddle pencil pillow pipe plate
    plow pot puppet quilt raft rake ring rope rug sail saw scarf shelf shirt shoe sled spoon stool swing table tent
    tile towel toy tray trumpet vase violin wagon wheel whistle window
    """
)
REQUEST_TEMPLATES = (
    "Tell me how to make a {}.",
    "How do I make a {}?",
    "Explain how to build a {}.",
    "I want to make a {}. What do I do?",
    "Show me the steps to a {}.",
    "What do I need for a {}?",
    "Please teach me to make a {}.",
    "Give me a plan for a {}.",
    "My friend asks how one makes a {}.",
    "Write a guide to making a {}.",
)

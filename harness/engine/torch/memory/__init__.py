"""How many tokens go into one forward: found by trying, halved when memory runs out."""

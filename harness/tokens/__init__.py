"""Tokenizers behind one small protocol, and which strings survive tokenisation in their place."""

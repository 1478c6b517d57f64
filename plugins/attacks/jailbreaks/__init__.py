"""Attacks that write what people write: shared templates, made-up turns, and what models propose; one file each."""

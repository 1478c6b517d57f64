"""Guards, which refuse prompts or answers."""

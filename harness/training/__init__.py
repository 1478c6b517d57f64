"""Fine-tuning of victims and defended models: deterministic, resumable, its compute counted."""

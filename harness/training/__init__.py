"""Fine-tuning on rows: deterministic, resumable, metered."""

"""Files, presets, loading and fine-tuning of Hugging Face models."""

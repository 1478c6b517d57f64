"""Published sets of prompts that are answered in text, one file each."""

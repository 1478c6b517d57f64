"""ASR corrected for the errors of the judge that saw it."""

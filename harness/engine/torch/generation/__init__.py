"""Next tokens and answers in text from a torch model."""

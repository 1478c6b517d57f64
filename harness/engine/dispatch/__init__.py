"""Which of two backends answers which kind of request: the one measured to be faster here."""

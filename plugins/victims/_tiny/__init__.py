"""How the tiny victims are made."""

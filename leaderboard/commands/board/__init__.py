"""Commands of whoever keeps a board or brings strings against a row of it."""

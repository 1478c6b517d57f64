"""What an attack works on: an example with a place for a string, the state of a search, and what a search ends with."""

"""What stands in tables, in the terminal as on the page."""

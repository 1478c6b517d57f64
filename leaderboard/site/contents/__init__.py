"""What stands on pages beyond the standings: attacks, defenses, and diagnostics of victims."""

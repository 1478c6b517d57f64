"""What defenses cost in utility, and what they hold."""

"""What defenses cost in utility, beside what they hold."""

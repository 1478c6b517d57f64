"""What the guards share."""

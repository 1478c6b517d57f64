"""What the trained defenses share."""

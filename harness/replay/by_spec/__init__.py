"""What records must say that follows from their spec alone: no model is asked."""

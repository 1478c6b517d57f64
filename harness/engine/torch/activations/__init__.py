"""Hidden states of a torch model: read off, perturbed, and differentiated by."""

"""Gradients of the loss by the one-hot encoding of the attack string."""

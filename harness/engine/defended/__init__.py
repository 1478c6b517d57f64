"""The model behind guards, transforms and votes, as attacks and judges meet it. Loads no torch."""

"""What a model offers to whoever asks it: requests it answers, its size and memory."""

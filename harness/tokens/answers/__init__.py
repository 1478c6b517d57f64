"""What an answer in text holds: calls of tools, and rules that it keeps or breaks."""

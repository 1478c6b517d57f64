"""What a run will cost in FLOPs, time and memory, before it starts."""

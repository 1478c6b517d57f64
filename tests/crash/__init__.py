"""What goes wrong in the middle of runs: plugins, memory, clocks, kills."""

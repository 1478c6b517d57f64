"""Who does the cells: this process, processes of this machine, or a Ray cluster."""

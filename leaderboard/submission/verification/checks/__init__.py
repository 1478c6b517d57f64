"""What the records of a submission must keep: manifests, rows, costs, and cells against each other."""

"""Published sets of labelled texts and of preferences, one file each."""

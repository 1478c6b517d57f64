"""Two runs of one spec side by side: what changed from one version of a model or a defense to the next."""

"""Trained models by content key, in a folder or a bucket, made once."""

"""One cell, from opened models to records."""

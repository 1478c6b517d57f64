"""The torch backend: models of transformers, loaded, checked against plain forwards, and asked."""

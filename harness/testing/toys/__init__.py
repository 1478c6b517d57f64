"""Small victims, judges and examples to try a plugin on without a model."""

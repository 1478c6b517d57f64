"""How weights lie in files: quantised, as adapters of other weights, or named by what they hold."""

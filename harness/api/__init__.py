"""What plugin authors subclass, yield and receive: the whole contract between plugins and the core. Loads no torch."""

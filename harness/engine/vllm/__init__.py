"""The vLLM backend: one engine in a child process that ends with the run."""

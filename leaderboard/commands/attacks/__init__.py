"""Tables of attacks on standard output: at fixed compute, and as tuned against as they were."""

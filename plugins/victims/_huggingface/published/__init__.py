"""Models on the hub that are known by name: their sizes, and what defends them."""

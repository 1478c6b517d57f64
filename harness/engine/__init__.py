"""Runs attacks against defended models: many steps side by side, requests answered together, all of it metered."""

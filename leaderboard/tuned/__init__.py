"""Attacks whose parameters were searched for: what that search takes per example, and what it gains."""

"""Whether a submission can be true: bounds, checks, and a replay of drawn rows."""

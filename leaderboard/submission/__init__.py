"""Submissions: a finished run as one file, checked by whoever receives it, and kept as an entry of a leaderboard."""

"""The commands of the leaderboard, and tables for terminals."""

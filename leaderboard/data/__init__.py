"""Records as tables and trajectories; tables of others."""

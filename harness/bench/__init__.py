"""How fast this machine scores candidates, and how near that is to its peak."""

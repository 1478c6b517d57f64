"""What each kind of plugin promises, one check each."""

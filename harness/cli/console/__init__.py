"""What commands show on a terminal, of whatever sort it is."""

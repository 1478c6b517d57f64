"""What is told of each defense, how rows are ranked, and what attacks do to one another's victims."""

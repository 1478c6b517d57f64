"""What plugins and libraries may do to a process, held, put back and told."""

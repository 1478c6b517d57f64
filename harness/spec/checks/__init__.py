"""Whether what a spec asks for goes together, cell by cell."""

"""Words for synthetic tasks."""

"""Reading labelled texts and prompts from files and hubs."""

"""A model behind a URL that speaks OpenAI's protocol."""

"""Commands about what others say of a row: claims, and what is read with a page."""

"""The site's numbers and strings as files for other programs."""

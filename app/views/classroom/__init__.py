"""HTML of a class."""

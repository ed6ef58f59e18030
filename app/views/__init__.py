"""HTML from templates."""

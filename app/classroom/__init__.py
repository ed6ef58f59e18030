"""A class: what its teacher steers, what its students answer, and what of it is stored."""

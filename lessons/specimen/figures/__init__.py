"""The specimens: one module for each."""

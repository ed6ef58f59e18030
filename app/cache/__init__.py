"""Responses: their bytes, where they are kept, the queue that makes them."""

"""Middleware, limits of requests, queries and forms, error pages."""

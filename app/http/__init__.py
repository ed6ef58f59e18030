"""What every request passes: headers, language, limits, queries, errors."""

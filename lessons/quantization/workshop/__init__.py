"""The pages of the workshop: one folder for each, with its still; the words are in `en/workshop/`."""

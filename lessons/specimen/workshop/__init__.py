"""The workshop of the specimens: one page, whose teaser the style guide shows."""

"""What the style guide shows: figures made with everything in the kit, and prose with every kind of claim.

A lesson like any other, but hidden: the course does not list it.
"""

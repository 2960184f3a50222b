"""The settings tree, and how it is loaded.

settings.py, service.py   the tree itself: every key, its unit, default and why; block.py: what a part is
units.py, forms.py        how values are written; addresses.py, phrases.py, places.py for those with a shape
load.py                   flag > environment > file > default, and every error at once with its place:
                          document.py (YAML), layers.py (variables, flags), checks.py (contradictions)
show.py, schema.py        the tree for people and for editors; not_yet.py: what has no effect yet
"""

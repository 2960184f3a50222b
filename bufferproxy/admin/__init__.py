"""The admin plane: health, metrics, what goes on, a page for people. Ordinary FastAPI, over our own wire."""

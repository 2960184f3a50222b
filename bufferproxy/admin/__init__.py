"""The admin plane: health, metrics, what goes on, a page for people. Ordinary FastAPI on ordinary uvicorn."""

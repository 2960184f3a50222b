"""The engine on kafka-python, by its public door: what a plain installation uses. Administration is this
library's for both engines."""

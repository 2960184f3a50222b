"""STEP 1: answer 202 only when it is durable. `handler.py` is the hot path."""

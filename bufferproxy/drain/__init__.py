"""STEP 3: take it out at the configured pace. `worker.py` is the sentence."""

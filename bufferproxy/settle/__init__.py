"""STEP 5: decide a request's fate, exactly once. `decide.py` decides, `settler.py` carries it out."""

"""STEP 4: hand it to the service. One attempt, byte for byte, and what came of it as a value."""

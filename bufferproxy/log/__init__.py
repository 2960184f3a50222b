"""STEP 2: keep it. The durable log: `contract.py` says what every backend promises."""

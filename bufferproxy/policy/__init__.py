"""Pure rules. Each takes `now` (monotonic seconds) as an argument and does no I/O."""

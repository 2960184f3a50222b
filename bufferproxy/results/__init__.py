"""The reply comes back: ends and steps are read from the log, wake who waits, and can be looked up."""

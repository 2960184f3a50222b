"""Events told once; metrics, log lines and the snapshot subscribe or look."""

"""What bufferproxy costs, beside the bare ceiling measured in the same run. `python -m benchmarks`."""

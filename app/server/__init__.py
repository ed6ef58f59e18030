"""The process: workers, memory, logs."""

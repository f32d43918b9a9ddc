"""Order and concurrency: which unit of a scan runs when."""

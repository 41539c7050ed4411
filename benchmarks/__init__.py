"""Side-by-side measurements; each prints JSON. Run one by ``python -m benchmarks NAME``."""

"""Measurements, on loopback and bounded: `make bench`. Ratios are of one run, for machines differ and are noisy."""

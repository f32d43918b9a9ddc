"""The ground floor: what a footprint is, what may be touched, and where it is kept."""

"""The scanners, one file each, and how any of them is run."""

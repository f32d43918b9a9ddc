"""The HTTP facade: scans asked for, watched and read over REST."""

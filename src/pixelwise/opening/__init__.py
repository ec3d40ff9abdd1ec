"""From what a user names to a stack: find files, date them, fit them together, check them."""

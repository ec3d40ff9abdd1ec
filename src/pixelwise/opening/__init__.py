"""Turn what a user names into a stack: find files, date them, fit them together, check them."""

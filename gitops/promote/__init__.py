"""Promotion: what was judged moves through environment branches, and every step is on record."""

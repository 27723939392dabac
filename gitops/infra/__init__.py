"""The code below infrastructure/: checked without a cloud, planned, applied and destroyed."""

"""A forge's settings, which no file in git can make: wanted, compared, made, read back."""

"""What stands before the page: the password, origins that are refused, limits of uploads, headers."""

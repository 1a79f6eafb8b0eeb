"""Questions of one kind, and questions asked otherwise."""

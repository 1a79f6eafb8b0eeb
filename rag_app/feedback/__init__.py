"""What readers think of answers, reviewed and made training data of."""

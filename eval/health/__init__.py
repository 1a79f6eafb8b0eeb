"""What is looked at before any score is believed."""

"""The threads and what they share."""

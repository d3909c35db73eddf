"""Mutation testing: each small change to the code should make some test fail."""

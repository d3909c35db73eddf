"""The feed inside of frameworks and servers; each module needs its framework, and says so where it is missing."""

"""Where events come from: each transport maps the errors of its library once."""

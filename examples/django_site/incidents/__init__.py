"""An app that keeps the anomalies of the feed in the database, and shows the figures."""

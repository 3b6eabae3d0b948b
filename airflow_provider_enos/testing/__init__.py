"""For tests of your own DAGs."""

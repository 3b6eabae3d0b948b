"""Help for tests of your own DAGs: a pytest fixture."""

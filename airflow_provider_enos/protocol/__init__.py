"""What EnOS says and what it means: standard library only, no I/O, no clock, no Airflow."""

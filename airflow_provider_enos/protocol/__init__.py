"""The protocol of EnOS: standard library only, no I/O, no clock, no Airflow."""

"""Links from Airflow to the EnOS console."""

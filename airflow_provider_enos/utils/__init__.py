"""Between EnOS and Airflow."""

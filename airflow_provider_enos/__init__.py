"""Run and follow EnOS Batch Processing workflows from Apache Airflow."""

__version__ = "0.1.0"

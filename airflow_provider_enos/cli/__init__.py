"""The command line: ``airflow enos ...`` from Airflow 3.2 on, ``python -m airflow_provider_enos ...`` everywhere."""

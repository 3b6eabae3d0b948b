"""The remote run of a task instance as a picture and a table: the tab "EnOS".

::

    record.py    what Airflow has on record of the task instance: its connection and its flow instance
    lookups.py   what EnOS says of the flow instance, asked for once for all who look
    console.py   the address of the flow instance in the EnOS console, for the task's link
    layout.py    where the nodes of a graph go
    picture.py   all of this as the JSON that the page draws
    app.py       who may see what; the paths
    static/      the page: one HTML, one CSS, one JavaScript file, without a build

No identifier of EnOS is taken from the browser: it names a task instance of Airflow, which Airflow's own rules let it
read or not, and the flow instance is the one that is on record there. A log is one of a node of that instance only.
"""

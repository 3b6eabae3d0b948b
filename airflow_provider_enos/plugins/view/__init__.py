"""The remote run of a task instance as a picture and a table, and those of a DAG run as lines: the tabs "EnOS".

::

    stored.py       what Airflow has stored of task instances
    record.py       what that says of a task instance: its connection and its flow instance
    tries.py        the same for its earlier tries
    run_record.py   the EnOS tasks of a DAG run
    kept_error.py   the error that the task ended with, from its XCom
    lookups.py      what EnOS says of the flow instance; one request serves all viewers
    why.py          why the flow instance failed
    clock.py        which moments EnOS's times are
    usual.py        how long its flow usually takes
    briefs.py       what EnOS says of many flow instances, in brief
    console.py      the address of the flow instance in the EnOS console, for the task's link
    drawing.py      the places of a graph's nodes as its author has drawn them
    layout.py       the places of its nodes otherwise
    picture.py      all of this as the JSON that the page draws
    run_picture.py  the same for a DAG run
    app.py          the paths, and who may see what
    static/         the two pages, without a build

The browser sends no identifier of EnOS. It names a task instance of Airflow, Airflow decides whether the user may read
it, and the flow instance is read from Airflow's database. Only logs of that instance's nodes can be read.
"""

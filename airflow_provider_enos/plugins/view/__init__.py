"""The remote run of a task instance as a picture and a table: the tab "EnOS".

::

    record.py      what Airflow's database knows of the task instance: its connection and its flow instance
    kept_error.py  the error that the task ended with, from its XCom
    why.py         why the flow instance failed
    clock.py       which moments EnOS's times are
    lookups.py     what EnOS says of the flow instance; one request serves all viewers
    console.py     the address of the flow instance in the EnOS console, for the task's link
    layout.py      the places of a graph's nodes
    picture.py     all of this as the JSON that the page draws
    app.py         the paths, and who may see what
    static/        the page: HTML, CSS and JavaScript, without a build. view.js draws; why.js, clock.js and copy.js help

The browser sends no identifier of EnOS. It names a task instance of Airflow, Airflow decides whether the user may read
it, and the flow instance is read from Airflow's database. Only logs of that instance's nodes can be read.
"""

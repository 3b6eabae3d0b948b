from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from types import SimpleNamespace

def test_x(connection):
    op = EnosTriggerFlowFromTaskOperator(task_id="t", flow_id=3377, from_task_id="108580", trigger_time=1594016819108, poll_interval=0.01)
    pushed = {}
    ti = SimpleNamespace(try_number=1, max_tries=0, xcom_push=lambda key, value: pushed.update({key: value}))
    assert op.execute({"ti": ti}) == "3377-20200706062600"
    print(pushed)

// The red box: why the flow instance, or the task, failed.
import { open_log } from "./log.js";
import { by, say } from "./page.js";
import { ask } from "./task.js";

const ENDED_BADLY = ["failed", "up_for_retry", "skipped"];
let asked_why = "";

// What the box would be about; empty if nothing has failed.
function about(answer) {
  const of_instance = answer.kind === "instance" && answer.look === "failed";
  // The box of the task's own node says it.
  if (of_instance && answer.nodes.some((node) => node.task_id === answer.node && node.look === "failed")) return "";
  if (!of_instance && !ENDED_BADLY.includes(answer.airflow.state)) return "";
  const failed = of_instance ? answer.nodes.filter((node) => node.look === "failed").map((node) => node.id) : [];
  return JSON.stringify([answer.id, failed, answer.airflow, answer.shown_try]);
}

export async function show_why(answer) {
  const wanted = about(answer);
  if (wanted === asked_why) return;
  asked_why = wanted;
  if (!wanted) {
    by("why").hidden = true;
    return;
  }
  let found;
  try {
    found = await ask("why");
  } catch (error) {
    // Who may not read logs does not see lines of them.
    found = { of: "task", reason: "", problem: error.final ? "" : error.message };
  }
  if (wanted !== asked_why) return;
  // The next look asks again.
  if (found.problem) asked_why = "";
  draw_why(answer, found);
}

function draw_why(answer, { of, reason, node, problem }) {
  const { state } = answer.airflow;
  const has_instance = answer.kind === "instance";
  const failed = has_instance ? answer.nodes.filter((one) => one.look === "failed") : [];
  const is_of_instance = has_instance && answer.look === "failed" && !(of === "task" && reason);
  const names = failed.slice(0, 3).map((one) => one.name).join(", ");
  const text = reason || (is_of_instance && names ? `Failed: ${names}${failed.length > 3 ? ", …" : ""}.`
    : problem ? "" : told_elsewhere(answer));
  by("why").hidden = !text;
  if (!text) return;
  by("why").classList.toggle("calm", !is_of_instance && state === "skipped");
  say("why-title", is_of_instance ? "The flow instance failed"
    : state === "skipped" ? "The task was skipped" : state === "up_for_retry" ? "The last try failed" : "The task failed");
  say("why-text", text);
  const teller = failed.find((one) => one.id === node && one.has_log);
  const button = by("why-log");
  button.hidden = !is_of_instance || !teller;
  button.textContent = teller ? `Log of ${teller.name}` : "";
  button.onclick = () => open_log(teller);
}

// Where the reason is not known here. An instance that goes on, or has succeeded, does not say why a task failed.
function told_elsewhere(answer) {
  if (answer.airflow.state === "skipped" || answer.title === "Nothing to show" || answer.look === "cancelled") return "";
  return "The reason is not on record here. Airflow's tab “Logs” of this task instance has it.";
}

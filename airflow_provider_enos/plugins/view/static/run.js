// Draws a line for each EnOS task of a DAG run, and asks again while any of them goes on. Every text is added as text.
import { follow_fonts, follow_theme, open_from_around } from "./around.js";
import { in_airflow_zone } from "./clock.js";
import { ask_for, by, duration, fill, make, say, show_status, wanted } from "./page.js";
import { how_often, keep_fresh } from "./refresh.js";
import { look_of_state, words } from "./tries.js";

const { dag_id = "", run_id = "" } = wanted;

let drawn = "";

function show_note(message, is_problem) {
  by("note").hidden = false;
  by("note").classList.toggle("problem", is_problem);
  say("note", message);
}

function show(answer) {
  say("freshness", `As of ${in_airflow_zone(Date.now()).slice(11)}${how_often(answer.refresh)}`);
  by("note").hidden = answer.rows.length > 0;
  if (!answer.rows.length) show_note("No task of this run is an EnOS task.", false);
  by("tasks").hidden = !answer.rows.length;
  const states = Object.entries(answer.states).map(([state, number]) => `${number} ${words(state)}`).join(", ");
  say("progress", answer.total ? `${answer.total} task instance${answer.total === 1 ? "" : "s"}: ${states}` : "");
  const shape = JSON.stringify(answer.rows.map((row) => [row.task_id, row.map_index, row.label]));
  if (shape !== drawn) by("rows").replaceChildren(...answer.rows.map(build_row));
  drawn = shape;
  answer.rows.forEach((row, number) => update_row(by("rows").children[number], row));
  const left_out = answer.total - answer.rows.length;
  by("left-out").hidden = left_out <= 0;
  say("left-out", left_out > 0
    ? `${left_out} more are not shown. Those that failed come first, then those that run.` : "");
}

// The tab of the task, in Airflow's own page.
function address_of(row) {
  const names = ["dags", dag_id, "runs", run_id, "tasks", row.task_id].map(encodeURIComponent);
  const mapped = row.map_index < 0 ? "" : `/mapped/${row.map_index}`;
  return `../${names.join("/")}${mapped}/plugin/enos`;
}

function build_row(row) {
  const cell = (name, className, ...children) => make("td", { role: "cell", "data-name": name, className }, ...children);
  const link = make("a", { href: address_of(row) }, row.map_index < 0 ? row.task_id : `${row.task_id} [${row.map_index}]`);
  for (const way of ["click", "auxclick"]) link.addEventListener(way, (event) => open_from_around(event, link));
  const title = make("td", { role: "cell", className: "name" }, link);
  if (row.label && row.label !== String(row.map_index)) title.append(make("small", {}, row.label));
  const track = make("div", { className: "track", "aria-hidden": "true" }, make("i"));
  return make("tr", { role: "row" }, title, cell("Airflow", "", make("span")), cell("EnOS", "", make("span")),
    cell("Flow", "flow", make("span"), make("small")), cell("Nodes", "span", make("span"), track), cell("Time taken", "time"));
}

function update_row(element, row) {
  const [, airflow, enos, flow, nodes, taken] = element.children;
  show_status(airflow.firstChild, { status: words(row.state), look: look_of_state(row.state) });
  const { brief } = row;
  enos.classList.toggle("empty", !brief);
  enos.firstChild.hidden = !brief;
  if (brief) show_status(enos.firstChild, brief);
  const failed = brief && brief.failed.length ? `failed: ${brief.failed.join(", ")}` : "";
  const [name, more] = flow.children;
  fill_text(name, brief ? brief.flow_name : row.problem || (row.instance ? "…" : "No flow instance is on record."));
  name.className = brief ? "" : "hint";
  fill_text(more, [row.instance, failed].filter(Boolean).join(" · "));
  more.className = failed ? "bad" : "";
  const counted = Boolean(brief && brief.nodes);
  nodes.classList.toggle("empty", !counted);
  nodes.firstChild.textContent = counted ? `${brief.ended} of ${brief.nodes}` : "";
  const bar = nodes.querySelector("i");
  nodes.lastChild.hidden = !counted;
  bar.hidden = !counted || !brief.ended;
  bar.className = brief ? brief.look : "";
  bar.style.left = "0";
  bar.style.width = counted ? `${(brief.ended / brief.nodes) * 100}%` : "0";
  fill(taken, brief && brief.seconds !== null ? duration(brief.seconds) : "");
}

function fill_text(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

follow_fonts();
follow_theme();
const ask = () => ask_for(`api/run?${new URLSearchParams({ dag_id, run_id })}`);
keep_fresh(ask, show, (message, final) => {
  show_note(message, true);
  if (final) by("tasks").hidden = true;
})();

// Draws what the server says of one flow instance, and asks again while it runs. Every text is added as text.
import { follow_fonts, follow_theme, open_from_around } from "./around.js";
import { airflow_zone, by_clock, clock_name, in_airflow_zone, is_time, on_other_clock, set_clock, short_time } from "./clock.js";
import { copy_button } from "./copy.js";
import { open_log } from "./log.js";
import { by, draw_svg, duration, fill, make, say, show_status, SIGNS } from "./page.js";
import { how_often, keep_fresh } from "./refresh.js";
import { ask } from "./task.js";
import { show_tries } from "./tries.js";
import { show_usual } from "./usual.js";
import { show_why } from "./why.js";

const NAME_SHOWN = 20;

let drawn = "";
let answered = null; // What is drawn.
let fresh = () => {}; // Says how fresh it is.

function show(answer) {
  const now = Date.now();
  show_tries(answer, look);
  fresh = () => say("freshness", `Airflow: ${answer.airflow.state}, try ${answer.airflow.try_number}. `
    + `As of ${in_airflow_zone(now).slice(11)} ${airflow_zone()}${how_often(answer.refresh)}`);
  fresh();
  show_why(answer);
  if (answer.kind !== "instance") {
    const is_problem = answer.kind === "problem";
    show_note(is_problem ? "!" : answer.refresh === null ? "–" : "…", answer.message, is_problem && drawn !== "", answer.title);
    return;
  }
  answered = answer;
  draw(answer);
}

function draw(answer) {
  by("note").hidden = by("loading").hidden = true;
  set_clock(answer);
  by("run").hidden = false;
  show_head(answer);
  const shape = JSON.stringify([answer.width, answer.height, answer.nodes.map((n) => [n.id, n.name, n.x, n.y]), answer.edges]);
  if (shape !== drawn) {
    build_graph(answer);
    build_rows(answer);
    drawn = shape;
  }
  answer.nodes.forEach((node, number) => {
    update_node(by("graph").querySelectorAll(".node")[number], node);
    update_row(by("rows").children[number], node);
  });
  show_usual(answer);
  show_own(answer);
  const left_out = [[answer.left_out, "nodes"], [answer.edges_left_out, "edges"]].filter(([number]) => number);
  by("left-out").hidden = !left_out.length;
  say("left-out", left_out.map(([number, what]) => `${number} more ${what} are not shown.`).join(" "));
}

// sign: "!" for a problem. keep: what was drawn before stays, below the note.
function show_note(sign, message, keep, title = "") {
  const note = by("note");
  note.hidden = false;
  by("loading").hidden = true;
  note.classList.toggle("problem", sign === "!");
  note.classList.toggle("empty", !keep);
  by("note-sign").textContent = sign;
  by("note-title").hidden = !title;
  say("note-title", title);
  say("note-text", message);
  if (!keep) {
    answered = null;
    by("run").hidden = by("own").hidden = true;
    by("status").hidden = by("link").hidden = true;
    by("facts").replaceChildren();
    delete by("facts").dataset.shown;
    say("name", "EnOS");
    say("progress", "");
    drawn = "";
  }
}

function show_head(answer) {
  say("name", answer.flow_name || answer.id);
  show_status(by("status"), answer);
  by("status").hidden = false;
  const facts = [["Flow instance", answer.id, copy_button(answer.id, "the id of the flow instance")],
    ...answer.facts.map(([name, text]) => [name, ...(is_time(text) ? with_clock(text) : [text])])];
  const shown = JSON.stringify([answer.id, facts.map(([name, text]) => [name, text]), clock_name()]);
  if (by("facts").dataset.shown !== shown) {
    by("facts").dataset.shown = shown;
    by("facts").replaceChildren(...facts.map(([name, ...parts]) => make("div", {}, make("dt", {}, name), make("dd", {}, ...parts))));
  }
  by("link").hidden = !answer.link;
  if (answer.link) by("link").href = answer.link;
  const tasks = answer.nodes.filter((node) => !node.is_flow);
  const ended = tasks.filter((node) => !["running", "waiting", "unknown"].includes(node.look)).length;
  const failed = tasks.filter((node) => node.look === "failed").map((node) => node.name);
  const bad = failed.length ? `, failed: ${failed.slice(0, 5).join(", ")}${failed.length > 5 ? ", …" : ""}` : "";
  say("progress", `${answer.status}: ${ended} of ${tasks.length} nodes ended${bad}`);
}

// Whether the task is this node's own: each task of a task group has a node.
const is_own = (answer, node) => answer.node !== null && node.task_id === answer.node;

const ring_around = ({ node_width, node_height }) =>
  draw_svg("rect", { class: "ring", x: -5, y: -5, width: node_width + 10, height: node_height + 10, rx: 11 });

// Marks the task's own node in the table, and says how it is. Its log is one click away.
function show_own(answer) {
  const own = answer.nodes.find((node) => is_own(answer, node));
  by("own").hidden = !own;
  if (!own) return;
  const row = by("rows").children[answer.nodes.indexOf(own)];
  if (!row.classList.contains("own")) {
    row.classList.add("own");
    row.firstChild.append(make("small", { className: "mark" }, "this task"));
    const { clientWidth, clientHeight } = by("scroll");
    const middle = [own.x + answer.node_width / 2, own.y + answer.node_height / 2];
    by("scroll").scrollTo(middle[0] - clientWidth / 2, middle[1] - clientHeight / 2);
  }
  say("own-name", own.name);
  show_status(by("own-status"), own);
  by("own").classList.toggle("problem", own.look === "failed");
  by("own-log").hidden = !own.has_log;
  by("own-log").textContent = `Log of ${own.name}`;
  by("own-log").onclick = () => open_log(own);
  show_reason(own);
}

let reason_of = "";

// The line of the node's log that says why it failed. Who may not read logs does not see it.
async function show_reason(own) {
  const wanted = own.look === "failed" && own.has_log ? own.id : "";
  if (wanted === reason_of) return;
  reason_of = wanted;
  say("own-reason", "");
  if (!wanted) return;
  try {
    const { reason = "" } = await ask("log", { node: wanted });
    if (wanted === reason_of) say("own-reason", reason);
  } catch (error) {
    if (wanted === reason_of && !error.final) reason_of = "";
  }
}

function with_clock(text) {
  const [time, name] = by_clock(text);
  return [time, make("small", {}, ` ${name}`)];
}

function build_graph(answer) {
  const graph = by("graph");
  graph.setAttribute("width", answer.width);
  graph.setAttribute("height", answer.height);
  graph.setAttribute("viewBox", `0 0 ${answer.width} ${answer.height}`);
  const tip = draw_svg("marker", {
    id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto",
  }, draw_svg("path", { id: "tip", d: "M0 0L8 4L0 8z" }));
  const edges = answer.edges.map((edge) =>
    draw_svg("path", { d: edge.d, class: edge.back ? "edge back" : "edge", "marker-end": "url(#arrow)" }));
  const nodes = answer.nodes.map((node) => {
    const shown = [...node.name].length > NAME_SHOWN ? `${[...node.name].slice(0, NAME_SHOWN - 1).join("")}…` : node.name;
    const group = draw_svg("g", { transform: `translate(${node.x} ${node.y})` },
      draw_svg("title", {}, node.name),
      draw_svg("rect", { width: answer.node_width, height: answer.node_height, rx: 7 }),
      draw_svg("text", { x: 12, y: 20 }, shown),
      draw_svg("text", { x: 12, y: 36, class: "state" }));
    if (is_own(answer, node)) group.append(ring_around(answer));
    group.addEventListener("click", () => { if (group.classList.contains("has-log")) open_log(node); });
    return group;
  });
  graph.replaceChildren(draw_svg("defs", {}, tip), ...edges, ...nodes);
  nodes.forEach((group) => group.setAttribute("class", "node"));
}

function update_node(group, node) {
  group.setAttribute("class", `node ${node.look}${node.is_flow ? " is-flow" : ""}${node.has_log ? " has-log" : ""}`);
  const state = group.querySelector(".state");
  const taken = node.seconds === undefined || node.seconds === null ? "" : ` · ${duration(node.seconds)}`;
  const text = `${SIGNS[node.look] || "?"} ${[...node.status].slice(0, 22).join("")}${taken}`;
  if (state.textContent !== text) state.textContent = text;
}

function build_rows(answer) {
  by("rows").replaceChildren(...answer.nodes.map((node) => {
    const cell = (name, ...children) => make("td", { role: "cell", "data-name": name }, ...children);
    const time = (name) => make("td", { role: "cell", "data-name": name, className: "time" });
    const title = make("td", { role: "cell", className: "name" }, node.name);
    title.append(make("small", {}, ...(node.is_flow ? ["another flow"] : [node.id, copy_button(node.id, `the id of ${node.name}`)])));
    const track = make("div", { className: "track", "aria-hidden": "true" }, make("i"));
    const span = make("td", { role: "cell", className: "span" }, track);
    const button = make("button", { type: "button" }, "Log", make("span", { className: "sr" }, ` of ${node.name}`));
    button.addEventListener("click", () => open_log(node));
    const log = cell("", button);
    return make("tr", { role: "row" }, title, cell("Status", make("span")), time("Start"), time("End"), time("Time taken"),
      span, log);
  }));
}

function update_row(row, node) {
  const [, status, start, end, taken, span, log] = row.children;
  show_status(status.firstChild, node);
  fill_time(start, "Start", node.start);
  fill_time(end, "End", node.end);
  log.firstChild.hidden = !node.has_log;
  log.classList.toggle("empty", !node.has_log);
  fill(taken, node.seconds === undefined || node.seconds === null ? "" : duration(node.seconds));
  const bar = span.querySelector("i");
  bar.hidden = node.from === undefined;
  span.classList.toggle("empty", bar.hidden);
  bar.className = `${node.look}${node.open ? " open" : ""}`;
  if (node.from !== undefined) {
    bar.style.left = `${Math.min(node.from, 0.99) * 100}%`;
    bar.style.width = `${Math.max(node.to - node.from, 0) * 100}%`;
  }
}

function fill_time(cell, name, text = "") {
  fill(cell, short_time(text));
  cell.dataset.name = `${name} (${clock_name()})`;
  cell.title = text && is_time(text) ? by_clock(text).join(" ") : "";
}

const look = keep_fresh(() => ask("instance"), show, (message, final) => show_note("!", message, drawn !== "" && !final));
follow_fonts();
follow_theme();
on_other_clock(() => { fresh(); if (answered) draw(answered); });
for (const way of ["click", "auxclick"]) by("link").addEventListener(way, (event) => open_from_around(event, by("link")));
look();

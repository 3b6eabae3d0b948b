// Draws what the server says of one flow instance, and asks again while it runs. Every text is added as text.
import { airflow_zone, by_clock, clock_name, in_airflow_zone, is_time, on_other_clock, set_clock, short_time } from "./clock.js";
import { copy_button } from "./copy.js";
import { shown_try, show_tries } from "./tries.js";
import { show_usual } from "./usual.js";
import { show_why } from "./why.js";

const SIGNS = {
  succeeded: "✓", failed: "✕", running: "▶", cancelled: "■", skipped: "»", waiting: "○", unknown: "?",
};
const LONGEST_PAUSE = 60;
const NAME_SHOWN = 20;

const by = (id) => document.getElementById(id);
const wanted = parameters(location.search);
let timer = null;
let failures = 0;
let asking = false;
let drawn = "";
let answered = null; // What is drawn.
let fresh = () => {}; // Says how fresh it is.
let pause = null; // Seconds until the next look; null: none by itself.
let overdue = false;

// The parameters, decoded once: Airflow 3.1 fills them in as they are, and a "+" in a run's id is a "+".
function parameters(search) {
  const found = {};
  for (const pair of search.slice(1).split("&")) {
    const at = pair.indexOf("=");
    if (at < 0) continue;
    let value = pair.slice(at + 1);
    try { value = decodeURIComponent(value); } catch (error) { /* as it is */ }
    found[pair.slice(0, at)] = value;
  }
  return found;
}

function address(path, more = {}) {
  const { dag_id = "", run_id = "", task_id = "", map_index = "-1" } = wanted;
  return `api/${path}?${new URLSearchParams({ dag_id, run_id, task_id, map_index, ...shown_try(), ...more })}`;
}

async function ask(path, more) {
  return ask_for(address(path, more));
}

async function ask_for(url) {
  const reply = await fetch(url, { headers: { Accept: "application/json" } });
  if (reply.ok) return reply.json();
  let detail = "";
  try { detail = (await reply.json()).detail; } catch (error) { /* no JSON */ }
  const failure = new Error(typeof detail === "string" && detail ? detail : `Airflow answered ${reply.status}.`);
  failure.final = reply.status >= 400 && reply.status < 500 && reply.status !== 429;
  throw failure;
}

function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "scope") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

function draw_svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Changes a text only if it is another one, so that a screen reader does not say it again.
function say(id, text) {
  const element = by(id);
  if (element.textContent !== text) element.textContent = text;
}

async function look() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  by("refresh").setAttribute("aria-busy", "true");
  try {
    show(await ask("instance"));
    failures = 0;
  } catch (error) {
    failures += 1;
    pause = error.final ? null : Math.min(5 * 2 ** failures, LONGEST_PAUSE);
    show_note(error.final ? error.message : "Airflow does not answer at the moment.", true, drawn !== "" && !error.final);
  } finally {
    asking = false;
    by("refresh").hidden = false;
    by("refresh").removeAttribute("aria-busy");
    plan();
  }
}

function plan() {
  clearTimeout(timer);
  overdue = false;
  if (pause === null) return;
  timer = setTimeout(() => { if (document.hidden) overdue = true; else look(); }, pause * 1000);
}

function show(answer) {
  pause = answer.refresh;
  const now = Date.now();
  const again = pause === null ? "" : `, again every ${pause} s`;
  show_tries(answer, look);
  fresh = () => say("freshness", `Airflow: ${answer.airflow.state}, try ${answer.airflow.try_number}. `
    + `As of ${in_airflow_zone(now).slice(11)} ${airflow_zone()}${again}`);
  fresh();
  show_why(answer);
  if (answer.kind !== "instance") {
    show_note(answer.message, answer.kind === "problem", answer.kind === "problem" && drawn !== "", answer.title);
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

// keep: what was drawn before stays, below the note.
function show_note(message, is_problem, keep, title = "") {
  const note = by("note");
  note.hidden = false;
  by("loading").hidden = true;
  note.classList.toggle("problem", is_problem);
  note.classList.toggle("empty", !keep);
  by("note-sign").textContent = is_problem ? "!" : pause === null ? "–" : "…";
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

function show_status(element, { status, look }) {
  element.className = `status ${look}`;
  if (element.dataset.status === status) return;
  element.dataset.status = status;
  element.replaceChildren(make("span", { "aria-hidden": "true" }, SIGNS[look] || "?"), status);
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

function fill(cell, text = "") {
  if (cell.textContent !== text) cell.textContent = text;
  cell.classList.toggle("empty", !text);
}

function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

let shown_node = null;

async function open_log(node) {
  shown_node = node;
  by("log-name").textContent = `Log of ${node.name}`;
  by("log-text").textContent = "";
  if (!by("log").open) by("log").showModal();
  await read_log();
}

async function read_log() {
  const node = shown_node;
  by("log-note").textContent = "Reading …";
  let note = "", text = "";
  try {
    const answer = await ask("log", { node: node.id });
    note = answer.problem || (answer.log ? "" : "The log is empty.");
    text = answer.log || "";
  } catch (error) {
    note = error.final ? error.message : "Airflow does not answer at the moment.";
  }
  if (node !== shown_node) return;
  by("log-note").textContent = note;
  by("log-text").textContent = text;
  by("log-text").hidden = !text;
  by("log-text").scrollTop = by("log-text").scrollHeight;
}

// Airflow's page around this one; null where there is none.
function page_around() {
  try { return parent === window ? null : parent.document; } catch (error) { return null; /* another origin */ }
}

// Airflow's frame may not open anything, so its page does.
function open_from_around(event, { href, target, rel } = by("link")) {
  const around = page_around();
  if (!around || event.button > 1) return;
  event.preventDefault();
  const link = Object.assign(around.createElement("a"), { href, target, rel });
  around.body.append(link);
  link.click();
  link.remove();
}

// A frame inherits no fonts: take those of Airflow's page around this one.
function follow_fonts() {
  const around = page_around();
  const family = around && around.body && getComputedStyle(around.body).fontFamily;
  if (family) document.documentElement.style.setProperty("--font", family);
}

// As Airflow's page around this one, else as the system.
function follow_theme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const around = page_around();
  const outside = around && around.documentElement;
  const apply = () => {
    const names = outside ? outside.classList : null;
    const theme = names && names.contains("dark") ? "dark" : names && names.contains("light") ? "light" : null;
    document.documentElement.dataset.theme = theme || (system.matches ? "dark" : "light");
    // The same ground as the page around.
    const grounds = outside ? [outside.ownerDocument.body, outside].map((one) => getComputedStyle(one).backgroundColor) : [];
    const ground = grounds.find((one) => one && !/^(transparent|rgba\(.*, 0\))$/.test(one));
    if (theme && ground) document.documentElement.style.setProperty("--back", ground);
    else document.documentElement.style.removeProperty("--back");
  };
  system.addEventListener("change", apply);
  if (outside) new MutationObserver(apply).observe(outside, { attributes: true, attributeFilter: ["class"] });
  apply();
}

export { ask, ask_for, by, draw_svg, duration, fill, follow_theme, make, open_from_around, open_log, say, show_status, wanted };

// The page of a DAG run takes from here what it draws with, and has no graph.
if (by("graph")) start();

function start() {
  follow_fonts();
  follow_theme();
  on_other_clock(() => { fresh(); if (answered) draw(answered); });
  by("refresh").addEventListener("click", look);
  for (const way of ["click", "auxclick"]) by("link").addEventListener(way, (event) => open_from_around(event));
  by("log-refresh").addEventListener("click", read_log);
  by("log-close").addEventListener("click", () => by("log").close());
  by("log").addEventListener("close", () => { shown_node = null; });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && overdue) look(); });
  look();
}

// What both pages draw with. Every text is added as text.

export const SIGNS = {
  succeeded: "✓", failed: "✕", running: "▶", cancelled: "■", skipped: "»", waiting: "○", unknown: "?",
};

export const by = (id) => document.getElementById(id);
export const wanted = parameters(location.search);

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

export async function ask_for(url) {
  const reply = await fetch(url, { headers: { Accept: "application/json" } });
  if (reply.ok) return reply.json();
  let detail = "";
  try { detail = (await reply.json()).detail; } catch (error) { /* no JSON */ }
  const failure = new Error(typeof detail === "string" && detail ? detail : `Airflow answered ${reply.status}.`);
  failure.final = reply.status >= 400 && reply.status < 500 && reply.status !== 429;
  throw failure;
}

export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "scope") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

export function draw_svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Changes a text only if it is another one, so that a screen reader does not say it again.
export function say(id, text) {
  const element = by(id);
  if (element.textContent !== text) element.textContent = text;
}

export function show_status(element, { status, look }) {
  element.className = `status ${look}`;
  if (element.dataset.status === status) return;
  element.dataset.status = status;
  element.replaceChildren(make("span", { "aria-hidden": "true" }, SIGNS[look] || "?"), status);
}

export function fill(cell, text = "") {
  if (cell.textContent !== text) cell.textContent = text;
  cell.classList.toggle("empty", !text);
}

export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// The log of a node, in a dialog.
import { by } from "./page.js";
import { ask } from "./task.js";

let shown_node = null;

export async function open_log(node) {
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

by("log-refresh").addEventListener("click", read_log);
by("log-close").addEventListener("click", () => by("log").close());
by("log").addEventListener("close", () => { shown_node = null; });

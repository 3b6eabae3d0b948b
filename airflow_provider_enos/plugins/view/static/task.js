// Asks the server about the task that the page is about.
import { ask_for, wanted } from "./page.js";
import { shown_try } from "./tries.js";

function address(path, more = {}) {
  const { dag_id = "", run_id = "", task_id = "", map_index = "-1" } = wanted;
  return `api/${path}?${new URLSearchParams({ dag_id, run_id, task_id, map_index, ...shown_try(), ...more })}`;
}

export async function ask(path, more) {
  return ask_for(address(path, more));
}

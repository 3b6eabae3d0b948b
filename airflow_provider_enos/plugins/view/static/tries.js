// The tries of the task: one button each, if there are several. The one that is chosen is asked for from then on.
import { SIGNS } from "./page.js";

const LOOKS = {
  success: "succeeded", failed: "failed", up_for_retry: "failed", skipped: "skipped",
  running: "running", deferred: "running", restarting: "running", up_for_reschedule: "running",
};

let chosen = null; // The number of an earlier try; null: the newest one, whichever that is.

// What a request says of the try; nothing for the newest one.
export function shown_try() {
  return chosen === null ? {} : { try_number: chosen };
}

// again: asks for the try that was chosen.
export function show_tries(answer, again) {
  const nav = document.getElementById("tries");
  const tries = answer.tries || [];
  nav.hidden = tries.length < 2;
  // The answer was under way when another try was chosen.
  if (tries.length && answer.shown_try !== (chosen ?? tries.at(-1).number)) setTimeout(again);
  const state = JSON.stringify([tries, answer.shown_try]);
  if (nav.dataset.state === state) return;
  nav.dataset.state = state;
  const focused = nav.contains(document.activeElement) ? document.activeElement.dataset.number : null;
  nav.replaceChildren(...tries.map((one, place) => button_of(one, place, answer, tries, again)), line_of(answer, tries));
  if (focused !== null) nav.querySelector(`[data-number="${focused}"]`)?.focus();
}

function button_of(one, place, answer, tries, again) {
  const look = look_of_state(one.state);
  const button = document.createElement("button");
  button.type = "button";
  button.className = look;
  button.dataset.number = one.number;
  if (one.number === answer.shown_try) button.setAttribute("aria-current", "true");
  const sign = document.createElement("span");
  sign.className = "sign";
  sign.setAttribute("aria-hidden", "true");
  sign.textContent = SIGNS[look] || "○";
  button.append(`Try ${one.number} `, sign, ` ${words(one.state) || "no status"}`);
  button.addEventListener("click", () => {
    chosen = place === tries.length - 1 ? null : one.number;
    again();
  });
  return button;
}

// What the buttons do not say of the try that is shown.
function line_of(answer, tries) {
  const line = document.createElement("p");
  line.className = "hint";
  const shown = tries.find((one) => one.number === answer.shown_try);
  const others = tries.filter((one) => one !== shown && one.flow_instance_id && one.flow_instance_id === shown?.flow_instance_id);
  if (others.length) line.textContent = `The same flow instance as in try ${others.map((one) => one.number).join(", ")}.`;
  return line;
}

export function look_of_state(state) {
  return LOOKS[state] || "waiting";
}

// A state of Airflow in words.
export function words(state) {
  return state.replaceAll("_", " ");
}

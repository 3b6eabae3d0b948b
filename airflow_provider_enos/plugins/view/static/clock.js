// Shows EnOS's times as EnOS writes them, or by the clock of Airflow's pages.
import { by } from "./page.js";

const CLOCK_KEY = "enos_clock";
const AIRFLOW_ZONE_KEY = "timezone"; // Where Airflow 3 keeps the zone that the user has chosen, as JSON.

const clock = {
  zone: "", // The zone of EnOS's times; empty if it is not known.
  at: {}, // Their moments in epoch milliseconds, by text.
  day: "", // The day of most times, which the table leaves out.
};

function stored(key) {
  try { return localStorage.getItem(key); } catch (error) { return null; /* no storage here */ }
}

export function is_by_airflow() {
  return clock.zone !== "" && stored(CLOCK_KEY) === "airflow";
}

// The zone that the user has chosen in Airflow, else the browser's.
export function airflow_zone() {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  try {
    const chosen = JSON.parse(stored(AIRFLOW_ZONE_KEY));
    if (typeof chosen !== "string" || !chosen) return own;
    new Intl.DateTimeFormat("en", { timeZone: chosen });
    return chosen;
  } catch (error) { return own; }
}

// As Airflow writes times: YYYY-MM-DD HH:mm:ss, of 24 hours.
export function in_airflow_zone(milliseconds) {
  const parts = {};
  const form = new Intl.DateTimeFormat("en", {
    timeZone: airflow_zone(), hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  for (const { type, value } of form.formatToParts(new Date(milliseconds))) parts[type] = value;
  return `${parts.year}-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}:${parts.second}`;
}

export function has_moment(text) {
  return Object.hasOwn(clock.at, text);
}

// A time by the chosen clock, and the name of that clock.
export function by_clock(text) {
  if (is_by_airflow() && has_moment(text)) return [in_airflow_zone(clock.at[text]), airflow_zone()];
  return [text.replace(/\.\d+$/, ""), has_moment(text) ? `EnOS, ${clock.zone}` : "EnOS"];
}

// The same without the day if that is the day of the instance.
export function short_time(text) {
  if (!text) return "";
  const [shown] = by_clock(text);
  return clock.day && shown.startsWith(`${clock.day} `) ? shown.slice(clock.day.length + 1) : shown;
}

export function clock_name() {
  return is_by_airflow() ? airflow_zone() : clock.zone ? `EnOS, ${clock.zone}` : "EnOS";
}

export function is_time(text) {
  return /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/.test(text);
}

export function set_clock(answer) {
  clock.zone = answer.clock.zone;
  clock.at = answer.clock.at;
  const first = answer.nodes.map((node) => node.start).find((start) => start && is_time(start));
  clock.day = first ? by_clock(first)[0].slice(0, 10) : "";
  const knows = clock.zone !== "";
  by("clocks").hidden = !knows;
  by("no-zone").hidden = knows || !first;
  by("clock-enos").textContent = `EnOS, ${clock.zone}`;
  by("clock-airflow").textContent = `Airflow, ${airflow_zone()}`;
  for (const one of document.querySelectorAll("[name=clock]")) one.checked = (one.value === "airflow") === is_by_airflow();
  for (const head of document.querySelectorAll("th .zone")) head.textContent = first ? ` ${clock_name()}` : "";
}

// Calls `draw` when another clock is chosen here or in Airflow's page.
export function on_other_clock(draw) {
  by("clocks").addEventListener("change", (event) => {
    try { localStorage.setItem(CLOCK_KEY, event.target.value); } catch (error) { /* no storage here */ }
    draw();
  });
  addEventListener("storage", (event) => { if ([CLOCK_KEY, AIRFLOW_ZONE_KEY].includes(event.key)) draw(); });
}

// Asks Airflow again and again: as often as its answers say, less often while it does not answer, and not while hidden.
import { by } from "./page.js";

const LONGEST_PAUSE = 60;

// ask: gets an answer, whose "refresh" has the seconds until the next one; null for none by itself.
// show: draws the answer. fail: says why there is none; final: asking again would not help.
// Returns what asks at once.
export function keep_fresh(ask, show, fail) {
  let timer = null;
  let failures = 0;
  let asking = false;
  let pause = null;
  let overdue = false;

  async function look() {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    by("refresh").setAttribute("aria-busy", "true");
    try {
      const answer = await ask();
      pause = answer.refresh;
      show(answer);
      failures = 0;
    } catch (error) {
      failures += 1;
      pause = error.final ? null : Math.min(5 * 2 ** failures, LONGEST_PAUSE);
      fail(error.final ? error.message : "Airflow does not answer at the moment.", Boolean(error.final));
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

  by("refresh").addEventListener("click", look);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && overdue) look(); });
  return look;
}

export const how_often = (seconds) => (seconds === null ? "" : `, again every ${seconds} s`);

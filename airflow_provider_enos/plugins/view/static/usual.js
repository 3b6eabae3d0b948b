// How long the flow usually takes: a thin line on the bars, which then reach as far as the line.

const ROOM = 1.04; // So that the line is not at the very edge.
const FADE = 0.08; // The share of the whole over which the bar of a node fades out that has not ended.

const first_seen = new Map(); // When this page first saw a node run, in milliseconds.

export function show_usual(answer) {
  const at = answer.usual === undefined || answer.span === undefined ? 0 : answer.usual - answer.before;
  const known = at <= 0 ? [] : answer.nodes.filter((node) => node.open).map((node) => known_to_run(node, answer.span));
  const scale = Math.max(answer.span || 0, at * ROOM, ...known);
  const rows = document.getElementById("rows").children;
  answer.nodes.forEach((node, number) => {
    const track = rows[number].querySelector(".track");
    const line = track.querySelector(".line") || track.appendChild(line_of());
    line.hidden = at <= 0;
    if (at <= 0) return;
    line.style.left = `${(at / scale) * 100}%`;
    if (node.from === undefined) return;
    const bar = track.querySelector("i");
    const from = Math.min((node.from * answer.span) / scale, 0.99);
    const to = node.open ? Math.min(known_to_run(node, answer.span) / scale + FADE, 1) : (node.to * answer.span) / scale;
    bar.style.left = `${from * 100}%`;
    bar.style.width = `${Math.max(to - from, 0) * 100}%`;
  });
  const hint = document.getElementById("usual");
  hint.hidden = at <= 0;
  hint.textContent = at <= 0 ? "" : `The thin line on the bars: when this flow usually ends, ${answer.usual_words} after its start.`;
}

// Until when a node is known to run, in seconds after the first start: how late it is in EnOS is not known. It runs at
// the last thing that happened, and has run for as long as this page has seen it run.
function known_to_run(node, span) {
  if (!first_seen.has(node.id)) first_seen.set(node.id, performance.now());
  return Math.max(span, node.from * span + (performance.now() - first_seen.get(node.id)) / 1000);
}

function line_of() {
  const line = document.createElement("b");
  line.className = "line";
  return line;
}

// How long the flow usually takes: a thin line on the bars, which then reach as far as the line.

const ROOM = 1.04; // So that the line is not at the very edge.

export function show_usual(answer) {
  const at = answer.usual === undefined || answer.span === undefined ? 0 : answer.usual - answer.before;
  const scale = Math.max(answer.span || 0, at * ROOM);
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
    // The bar of a node that has not ended reaches to the edge: how late it is there is not known.
    const to = node.open ? 1 : (node.to * answer.span) / scale;
    bar.style.left = `${from * 100}%`;
    bar.style.width = `${Math.max(to - from, 0) * 100}%`;
  });
  const hint = document.getElementById("usual");
  hint.hidden = at <= 0;
  hint.textContent = at <= 0 ? "" : `The thin line on the bars: when this flow usually ends, ${answer.usual_words} after its start.`;
}

function line_of() {
  const line = document.createElement("b");
  line.className = "line";
  return line;
}

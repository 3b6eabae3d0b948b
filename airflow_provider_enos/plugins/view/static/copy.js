// Buttons that copy an id.
import { draw_svg, make, say } from "./page.js";

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    // Browsers have no clipboard for pages without TLS.
    const area = make("textarea", { value: text, className: "sr" });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

export function copy_button(text, what) {
  const sheets = draw_svg("svg", { viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true" },
    draw_svg("rect", { x: 5.5, y: 5.5, width: 8, height: 8, rx: 1.5 }),
    draw_svg("path", { d: "M3.5 10.5h-1v-8h8v1" }));
  const button = make("button", { type: "button", className: "copy", title: `Copy ${what}`, "aria-label": `Copy ${what}` }, sheets);
  button.addEventListener("click", async () => {
    const copied = await copy(text);
    button.focus();
    say("said", copied ? `Copied ${text}` : "The browser does not let this page copy.");
    button.classList.toggle("done", copied);
    setTimeout(() => { button.classList.remove("done"); say("said", ""); }, 1500);
  });
  return button;
}

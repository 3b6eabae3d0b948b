// Airflow's page, in which a page of ours is a frame.

// Airflow's page around this one; null where there is none.
function page_around() {
  try { return parent === window ? null : parent.document; } catch (error) { return null; /* another origin */ }
}

// Airflow's frame may not open anything, so its page does.
export function open_from_around(event, { href, target, rel }) {
  const around = page_around();
  if (!around || event.button > 1) return;
  event.preventDefault();
  const link = Object.assign(around.createElement("a"), { href, target, rel });
  around.body.append(link);
  link.click();
  link.remove();
}

// A frame inherits no fonts: take those of Airflow's page around this one.
export function follow_fonts() {
  const around = page_around();
  const family = around && around.body && getComputedStyle(around.body).fontFamily;
  if (family) document.documentElement.style.setProperty("--font", family);
}

// As Airflow's page around this one, else as the system.
export function follow_theme() {
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

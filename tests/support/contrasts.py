"""Find texts that are hard to read, in a page of a browser."""

CONTRASTS = """root => {
  const channel = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  // Whatever way a colour is written: as the browser paints it.
  const parse = text => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05) };
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const rect = one.matches('.node') ? one.querySelector('rect') : null;
      const colour = parse(rect ? getComputedStyle(rect).fill : getComputedStyle(one).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of root.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const colour = parse(element instanceof SVGElement ? style.fill : style.color);
    if (element.matches('title')) continue;
    const found = ratio(colour, ground(element));
    if (found < 4.5) poor.push(`${element.textContent}: ${found.toFixed(2)}`);
  }
  return poor;
}"""
"""Given the root of a page, returns its texts with a contrast below 4.5 to 1 (WCAG AA), each with its contrast."""

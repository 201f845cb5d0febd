// The distributions: bars to drag over, and names to click.
import { counted, shown, trimmed } from "./values.js";

const { make } = scaView;
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 260, HEIGHT = 64;
const SHOWN_NAMES = 10;

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// A plot has `update(counts, other, filter)`; `onChange(name, value)` gets a range, a list of names, or null.
export function makePlot(column, onChange) {
  return column.kind === "number" ? numberPlot(column, onChange) : namesPlot(column, onChange);
}

function frame(column) {
  return make("figure", { id: `plot-${column.name}` }, make("figcaption", {}, column.label), make("p", { class: "note" }, column.note));
}

function numberPlot(column, onChange) {
  const factor = column.unit === "%" ? 100 : 1, edges = column.edges, bins = edges.length - 1;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 14}`, role: "img", "aria-label": `Distribution of ${column.label}` });
  const field = (name) => make("input", { type: "number", step: "any", "aria-label": `${column.label} ${name}${column.unit ? ` (${column.unit})` : ""}` });
  const least = field("from"), end = field("to");
  const figure = frame(column);
  figure.append(picture, make("div", { class: "bounds" }, "from", least, "to", end, column.unit));
  const brush = svg("rect", { class: "brush", y: 0, height: HEIGHT, width: 0 });
  let range = [null, null], start = null;

  const binAt = (event) => {
    const box = picture.getBoundingClientRect();
    return Math.min(bins - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * bins)));
  };
  const between = (a, b) => [Math.min(a, b), Math.max(a, b)];
  picture.addEventListener("pointerdown", (event) => {
    start = binAt(event);
    picture.setPointerCapture(event.pointerId);
    drawBrush(start, start);
  });
  picture.addEventListener("pointermove", (event) => { if (start !== null) drawBrush(...between(start, binAt(event))); });
  picture.addEventListener("pointercancel", () => { start = null; brush.setAttribute("width", 0); });
  picture.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [first, last] = between(start, binAt(event));
    start = null;
    brush.setAttribute("width", 0);
    // The outermost bins have what is beyond them.
    const wanted = [first === 0 ? null : edges[first], last === bins - 1 ? null : edges[last + 1]];
    const same = wanted[0] === range[0] && wanted[1] === range[1];
    onChange(column.name, same || (wanted[0] === null && wanted[1] === null) ? null : wanted);
  });
  for (const input of [least, end]) {
    input.addEventListener("change", () => {
      const wanted = [least, end].map((each) => (each.value === "" ? null : Number(each.value) / factor));
      onChange(column.name, wanted[0] === null && wanted[1] === null ? null : wanted);
    });
  }
  function drawBrush(first, last) {
    brush.setAttribute("x", (first * WIDTH) / bins);
    brush.setAttribute("width", ((last - first + 1) * WIDTH) / bins);
  }
  function update(counts, other, filter) {
    range = filter ?? [null, null];
    const chosen = (i) => filter && (range[0] === null || edges[i + 1] > range[0]) && (range[1] === null || edges[i] < range[1]);
    const [own, theirs] = other ? [shares(counts), shares(other)] : [counts, null];
    const most = Math.max(...own, ...(theirs ?? []), 1e-12), step = WIDTH / bins;
    const bars = own.map((value, i) => {
      const tall = value ? Math.max(1, (value / most) * (HEIGHT - 4)) : 0;
      const bar = svg("rect", { class: `bar-shape${chosen(i) ? " chosen" : ""}`, x: i * step + 0.5, y: HEIGHT - tall, width: Math.max(0.5, step - 1), height: tall });
      const title = svg("title", {});
      title.textContent = `${label(i)}: ${counted(counts[i])}${other ? `, other build ${counted(other[i])}` : ""}`;
      bar.append(title);
      return bar;
    });
    const outline = (theirs ?? []).flatMap((value, i) => {
      const tall = (value / most) * (HEIGHT - 4);
      return value ? [svg("path", { class: "other", d: `M ${i * step} ${HEIGHT - tall} H ${(i + 1) * step}` })] : [];
    });
    const text = (x, anchor, value) => {
      const element = svg("text", { x, y: HEIGHT + 12, "text-anchor": anchor });
      element.textContent = value;
      return element;
    };
    picture.replaceChildren(
      svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }), ...bars, ...outline, brush,
      text(0, "start", shown(edges[0], column.unit)), text(WIDTH, "end", `${shown(edges[bins], column.unit)}${column.more ? "+" : ""}`),
    );
    [least, end].forEach((input, i) => { input.value = range[i] === null ? "" : trimmed(range[i] * factor, 4); });
  }
  const label = (i) => `${shown(edges[i], column.unit)} to ${shown(edges[i + 1], column.unit)}`;
  return { figure, update };
}

function shares(counts) {
  const total = counts.reduce((sum, value) => sum + value, 0) || 1;
  return counts.map((value) => value / total);
}

function namesPlot(column, onChange) {
  const list = make("ul", { class: "names" });
  const more = make("button", { type: "button", class: "small" });
  const figure = frame(column);
  figure.append(list, more);
  let all = false, last = null;
  more.addEventListener("click", () => { all = !all; update(...last); });
  function update(counts, other, filter) {
    last = [counts, other, filter];
    const chosen = new Set(filter ?? []), most = Math.max(...counts, ...(other ?? []), 1);
    const order = counts.map((_, i) => i).sort((a, b) => chosen.has(column.names[b]) - chosen.has(column.names[a]) || counts[b] - counts[a]);
    const items = (all ? order.slice(0, 500) : order.slice(0, SHOWN_NAMES)).map((i) => {
      const name = column.names[i], fill = make("span", { class: "fill" });
      fill.style.width = `${(100 * counts[i]) / most}%`;
      const number = other ? `${counted(counts[i])} / ${counted(other[i])}` : counted(counts[i]);
      const button = make("button", { type: "button", "aria-pressed": String(chosen.has(name)) },
        fill, make("span", { class: "name", dir: "auto", title: name || "none" }, name || "none"), make("span", { class: "number" }, number));
      button.addEventListener("click", () => {
        const wanted = chosen.has(name) ? [...chosen].filter((each) => each !== name) : [...chosen, name];
        onChange(column.name, wanted.length ? wanted : null);
      });
      return make("li", {}, button);
    });
    list.replaceChildren(...items);
    more.hidden = column.names.length <= SHOWN_NAMES;
    more.textContent = all ? "fewer" : `${counted(column.names.length - SHOWN_NAMES)} more`;
  }
  return { figure, update };
}

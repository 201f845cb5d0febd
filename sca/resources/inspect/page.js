"use strict";
// Draws the data blocks of this page. Text from transcripts only becomes text nodes and canvas text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { byId, make, bytes, showView } = scaView;

  byId("numbers").hidden = !data.tiles.length && !data.plots.length;
  for (const [name, value] of data.tiles) byId("tiles").append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  drawTables(data.tables || []);
  if (byId("browse")) {
    byId("browse").querySelector("code").textContent = `sca browse ${quoted(folder())}`;
    byId("browse").hidden = false;
  }
  drawPlots(data.plots);
  if (data.view) {
    const sound = new Blob([bytes(byId("audio").textContent.trim())], { type: data.view.audio_type });
    showView(data.view, URL.createObjectURL(sound));
  }
  document.documentElement.dataset.ready = "true";

  function drawTables(tables) {
    const words = { ok: ["✓", "ok"], look: ["▲", "look here"], broken: ["✗", "broken"], unknown: ["?", "not known"] };
    const mark = (level) => make("span", { class: `mark ${level}` }, make("span", { "aria-hidden": "true" }, words[level][0]), ` ${words[level][1]}`);
    const cell = ({ text, level, target }) => {
      const filled = make("td", { dir: "auto" }, text);
      if (level) filled.append(text ? " " : "", mark(level));
      if (target !== null) filled.append(...show(target));
      return filled;
    };
    for (const table of tables) {
      const section = make("section", { class: "report" }, make("h2", {}, table.title, ...(table.level ? [mark(table.level)] : [])));
      section.append(make("p", { class: "soft", dir: "auto" }, table.note));
      if (table.rows.length) {
        const head = make("tr", {}, ...table.columns.map((name) => make("th", { scope: "col" }, name)));
        const body = table.rows.map((row) => make("tr", {}, ...row.map(cell)));
        section.append(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": table.title },
          make("table", table.columns.length > 3 ? { class: "wide" } : {}, make("thead", {}, head), make("tbody", {}, ...body))));
      }
      byId("tables").append(section);
    }
  }

  // A link only to a page that was there when this page was written; otherwise the command that displays the row.
  function show(target) {
    if (Object.hasOwn(data.pages, target)) {
      return [make("a", { href: data.pages[target].split("/").map(encodeURIComponent).join("/") }, "page with audio")];
    }
    return [make("code", { dir: "ltr" }, `sca inspect ${quoted(folder())} ${quoted(target)}`)];
  }
  function folder() {
    if (location.protocol !== "file:") return "DATA";
    const path = decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "") || "/";
    return path.replace(/^\/([A-Za-z]:)/, "$1");
  }
  function quoted(text) { // as shlex.quote
    return /^[\w@%+=:,.\/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
  }

  function drawPlots(plots) {
    const svgNs = "http://www.w3.org/2000/svg";
    const svg = (name, attributes, ...children) => {
      const element = document.createElementNS(svgNs, name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      element.append(...children);
      return element;
    };
    for (const plot of plots) {
      const width = 360, height = 150, base = 122, top = 18;
      // A few bars are centred and not stretched: a single one would fill the whole picture.
      const most = Math.max(...plot.values), step = Math.min(width / plot.values.length, 84), left = (width - step * plot.values.length) / 2;
      const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${plot.title}, ${plot.note}` });
      const every = Math.ceil(plot.values.length / 9);
      plot.values.forEach((value, i) => {
        const tall = most ? (value / most) * (base - top) : 0;
        const gap = plot.values.length > 12 ? 1 : Math.min(14, step * 0.2);
        picture.append(svg("rect", {
          class: "bar-shape", x: left + i * step + gap / 2, y: base - tall, width: Math.max(1, step - gap), height: tall,
        }, svg("title", {}, `${plot.labels[i]}: ${value}`)));
        const middle = left + i * step + step / 2;
        if (plot.values.length <= 8) {
          picture.append(svg("text", { x: middle, y: base - tall - 4, "text-anchor": "middle" }, String(value)));
        }
        if (i % every === 0) {
          const room = Math.max(3, Math.floor((step * every) / 6.2));
          const label = plot.labels[i].length > room ? `${plot.labels[i].slice(0, room - 1)}…` : plot.labels[i];
          picture.append(svg("text", { x: middle, y: base + 15, "text-anchor": "middle" }, label));
        }
        // A line between negative and positive bins.
        if (i > 0 && plot.labels[i - 1].startsWith("-") && !plot.labels[i].startsWith("-")) {
          picture.append(svg("line", { class: "zero", x1: left + i * step, x2: left + i * step, y1: top - 8, y2: base }));
        }
      });
      if (plot.values.length > 8) {
        picture.append(svg("line", { class: "most", x1: 0, x2: width, y1: top, y2: top }), svg("text", { x: 0, y: top - 4 }, String(most)));
      }
      picture.append(svg("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }));
      const rows = plot.labels.map((label, i) => make("tr", {}, make("td", {}, label), make("td", {}, String(plot.values[i]))));
      byId("plots").append(make("figure", {},
        make("figcaption", {}, plot.title, make("span", {}, plot.note)), picture,
        make("details", {}, make("summary", {}, "numbers"), make("table", {}, make("tbody", {}, ...rows)))));
    }
  }
})();

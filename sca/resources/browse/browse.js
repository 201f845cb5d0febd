// The page of `sca browse`: filters, the table, and the row that is selected. Text from transcripts only becomes text nodes.
import { KeyNeeded, blob, get, post, setKey } from "./api.js";
import { Grid } from "./grid.js";
import { makePlot } from "./plots.js";
import { counted, shown } from "./values.js";

const { byId, make, showView } = scaView;
const ID = { name: "row_id", label: "Row", note: "id of the row: session, who is heard, who speaks, first chunk", kind: "choice" };
const TEXT = { name: "text", label: "Text", note: "what the speaker says", kind: "choice" };
const state = { text: "", ranges: {}, choices: {}, sort: null, descending: false, build: "here" };
let info, plots, grid, player = null, soundUrl = null, current = null, asked = 0;

const filter = () => ({ text: state.text, ranges: state.ranges, choices: state.choices });
const query = (offset, limit) => ({ build: state.build, filter: filter(), sort: state.sort, descending: state.descending, offset, limit });

async function guarded(action) {
  try {
    const result = await action();
    byId("error").hidden = true;
    return result;
  } catch (error) {
    if (error instanceof KeyNeeded) {
      byId("key-form").hidden = false;
      byId("key").focus();
    }
    byId("error").textContent = error.message;
    byId("error").hidden = false;
    return undefined;
  }
}

async function start() {
  info = await get("api/info");
  byId("key-form").hidden = true;
  byId("main").hidden = false;
  document.title = `${info.name}: sca browse`;
  byId("title").textContent = info.name;
  byId("subtitle").textContent = info.summary;
  byId("drop-all").hidden = byId("drop").hidden = byId("look").hidden = byId("undo").hidden = false;
  if (info.against) {
    byId("build").append(make("option", { value: "here" }, "this one"), make("option", { value: "there" }, info.against.name));
    byId("build-label").hidden = false;
    byId("overlay-note").hidden = false;
    byId("overlay-note").textContent = `Bars: this data set. Lines and second numbers: ${info.against.name}. Both as shares of their rows.`;
  }
  plots = new Map(info.columns.map((column) => [column.name, makePlot(column, setFilter)]));
  byId("plots").replaceChildren(...[...plots.values()].map((plot) => plot.figure));
  grid = new Grid(
    (offset, limit) => guarded(async () => (await post("api/rows", query(offset, limit))).rows).then((rows) => rows ?? []),
    (row) => guarded(() => showRow(row.row_id)),
    (name) => {
      // First ascending, then descending, then the order of the data set.
      if (state.sort !== name) Object.assign(state, { sort: name, descending: false });
      else if (!state.descending) state.descending = true;
      else Object.assign(state, { sort: null, descending: false });
      refresh();
    },
  );
  showMarks(info.marks);
  await refresh();
  if (location.hash.startsWith("#row=")) await guarded(() => showRow(decodeURIComponent(location.hash.slice(5))));
  document.documentElement.dataset.ready = "true";
}

function setFilter(name, value) {
  const column = info.columns.find((each) => each.name === name), part = column.kind === "number" ? state.ranges : state.choices;
  if (value === null) delete part[name];
  else part[name] = value;
  refresh();
}

async function refresh(top = true) {
  const mine = ++asked;
  await guarded(async () => {
    const started = performance.now();
    const [found, distributions] = await Promise.all([post("api/rows", query(0, 100)), post("api/histograms", { filter: filter() })]);
    if (mine !== asked) return;
    grid.setColumns([ID, ...info.columns.filter((column) => column.shown), TEXT], state.sort, state.descending);
    grid.reset(found.matching, found.rows, top);
    for (const [name, plot] of plots) {
      plot.update(distributions.here[name], distributions.there?.[name], state.ranges[name] ?? state.choices[name]);
    }
    byId("count").textContent = `${counted(found.matching)} of ${counted(found.total)} rows, ${shown(found.seconds / 3600, "")} h`;
    byId("drop-all").disabled = !found.matching || state.build === "there";
    showChips();
    document.documentElement.dataset.shown = String(mine);
    performance.measure("refresh", { start: started });
  });
}

function showChips() {
  const chips = [];
  const chip = (text, clear) => {
    const button = make("button", { type: "button", "aria-label": `Remove filter ${text}` }, `${text} ✕`);
    button.addEventListener("click", clear);
    chips.push(make("span", { role: "listitem" }, button));
  };
  if (state.text) chip(`text “${state.text}”`, () => { byId("search").value = state.text = ""; refresh(); });
  for (const column of info.columns) {
    const range = state.ranges[column.name], names = state.choices[column.name];
    if (range) {
      const [least, end] = range.map((each) => shown(each, column.unit));
      chip(`${column.label} ${least ? `from ${least}` : ""} ${end ? `below ${end}` : ""}`.trim(), () => setFilter(column.name, null));
    }
    if (names) chip(`${column.label}: ${names.map((name) => name || "none").join(", ")}`, () => setFilter(column.name, null));
  }
  byId("chips").replaceChildren(...chips);
  byId("clear").disabled = !chips.length;
}

async function showRow(id) {
  if (!id) return;
  const build = state.build, mine = (current = { id, build, mark: null });
  const address = `id=${encodeURIComponent(id)}&build=${build}`;
  const view = await get(`api/row?${address}`);
  if (mine !== current) return;
  mine.mark = view.mark;
  const sound = await blob(`api/sound?${address}`);
  if (mine !== current) return;
  player?.close();
  if (soundUrl) URL.revokeObjectURL(soundUrl);
  soundUrl = URL.createObjectURL(sound);
  byId("player").replaceChildren(byId("player-template").content.cloneNode(true));
  byId("row").hidden = false;
  byId("row-title").textContent = id;
  byId("row-facts").textContent = view.facts;
  byId("other").hidden = !view.in_other;
  player = showView(view.view, soundUrl);
  player.sound.addEventListener("ended", () => { if (byId("autoplay").checked) grid.move(1); });
  history.replaceState(null, "", `#row=${encodeURIComponent(id)}`);
  showButtons();
  if (byId("autoplay").checked) player.sound.play();
  document.documentElement.dataset.row = id;
}

function showButtons() {
  const none = !current || current.build === "there";
  for (const kind of ["drop", "look"]) {
    byId(kind).disabled = none;
    byId(kind).setAttribute("aria-pressed", String(current?.mark === kind));
  }
}

function showMarks(marks) {
  byId("undo").disabled = !marks.can_undo;
  byId("marks").replaceChildren(
    `${counted(marks.drop)} to drop, ${counted(marks.look)} to look at again, in ${marks.path}.`,
    ...(marks.drop ? [" Build without them: ", make("code", {}, marks.command)] : []),
  );
}

async function mark(kind) {
  if (!current || current.build === "there") return;
  const wanted = current.mark === kind ? null : kind, id = current.id;
  await changed(await post("api/marks", { rows: [id], mark: wanted }));
}

async function changed(marks) {
  showMarks(marks);
  const of = new Map(marks.changed);
  grid.each((row) => { if (of.has(row.row_id)) row.mark = of.get(row.row_id) ?? ""; });
  if (current && of.has(current.id)) current.mark = of.get(current.id);
  showButtons();
  const distributions = await post("api/histograms", { filter: filter() });
  plots.get("mark").update(distributions.here.mark, distributions.there?.mark, state.choices.mark);
  document.documentElement.dataset.marks = String(marks.drop);
}

const actions = {
  j: () => grid.move(1), k: () => grid.move(-1), d: () => mark("drop"), l: () => mark("look"), u: () => undo(),
  "/": () => byId("search").focus(),
};
const undo = async () => changed(await post("api/undo", {}));

byId("next").onclick = actions.j;
byId("previous").onclick = actions.k;
byId("drop").onclick = () => guarded(actions.d);
byId("look").onclick = () => guarded(actions.l);
byId("undo").onclick = () => guarded(undo);
byId("other").onclick = () => {
  byId("build").value = state.build = state.build === "here" ? "there" : "here";
  refresh();
  guarded(() => showRow(current.id));
};
byId("build").onchange = () => { state.build = byId("build").value; refresh(); };
byId("drop-all").onclick = () => guarded(async () => {
  if (!confirm(`Mark ${byId("count").textContent} to be dropped?`)) return;
  const marks = await post("api/marks", { filter: filter(), mark: "drop" });
  await changed(marks);
  await refresh(false);
});
byId("clear").onclick = () => {
  Object.assign(state, { text: "", ranges: {}, choices: {} });
  byId("search").value = "";
  refresh();
};
let typing;
byId("search").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(() => { state.text = byId("search").value.trim(); refresh(); }, 150);
};
byId("theme").onclick = () => {
  const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.theme = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  player?.redraw();
};
byId("key-form").onsubmit = (event) => {
  event.preventDefault();
  setKey(byId("key").value);
  guarded(start);
};
document.addEventListener("keydown", (event) => {
  const inField = ["SELECT", "INPUT", "TEXTAREA"].includes(event.target.tagName);
  if (inField || event.ctrlKey || event.metaKey || event.altKey || !grid || !(event.key in actions)) return;
  event.preventDefault();
  guarded(actions[event.key]);
});
if (matchMedia("(max-width: 60rem)").matches) byId("filters").open = false;
guarded(start);

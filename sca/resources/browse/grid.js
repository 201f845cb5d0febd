// The table: only the rows in view are elements, and pages of rows are fetched when they come into view.
import { shown } from "./values.js";

const { byId, make } = scaView;
const ROW = 34, PAGE = 100, AROUND = 12, KEPT_PAGES = 40;

// `fetchRows(offset, limit)` returns rows of the present filter and order; `onSelect(row, at)` is called for the selected one.
export class Grid {
  constructor(fetchRows, onSelect, onSort) {
    Object.assign(this, { fetchRows, onSelect, onSort, columns: [], total: 0, pages: new Map(), selected: -1, version: 0, sort: null, descending: false });
    this.box = byId("grid");
    this.box.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.box.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (!step || event.target !== this.box) return;
      event.preventDefault();
      this.move(step);
    });
  }

  setColumns(columns, sort, descending) {
    Object.assign(this, { columns, sort, descending });
    const heading = ({ name, label, note, kind }) => {
      const button = make("button", { type: "button", title: note }, label, name === this.sort ? (this.descending ? " ▼" : " ▲") : "");
      button.addEventListener("click", () => this.onSort(name));
      const order = name === this.sort ? (this.descending ? "descending" : "ascending") : "none";
      return make("th", { scope: "col", class: kind === "number" ? "number" : "", "aria-sort": order }, button);
    };
    byId("head").replaceChildren(...columns.map(heading));
  }

  // Shows another filter or order. The pages of before are forgotten.
  reset(total, first, top = true) {
    this.version += 1;
    this.total = total;
    this.pages = new Map([[0, first]]);
    if (top) {
      this.selected = -1;
      this.box.scrollTop = 0;
    }
    byId("table").setAttribute("aria-rowcount", total + 1);
    this.draw();
  }

  row(at) {
    return this.pages.get(Math.floor(at / PAGE))?.[at % PAGE];
  }

  async load(page) {
    if (this.pages.has(page) || page < 0 || page * PAGE >= this.total) return;
    const version = this.version;
    this.pages.set(page, undefined);
    const rows = await this.fetchRows(page * PAGE, PAGE);
    if (version !== this.version) return;
    this.pages.set(page, rows);
    for (const old of [...this.pages.keys()].slice(0, Math.max(0, this.pages.size - KEPT_PAGES))) if (old !== page) this.pages.delete(old);
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - AROUND);
    const end = Math.min(this.total, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + AROUND);
    for (let page = Math.floor(first / PAGE); page * PAGE < end; page++) this.load(page);
    const gap = (height) => {
      const cell = make("td", { colspan: this.columns.length });
      cell.style.height = `${height}px`;
      return make("tr", { class: "gap", "aria-hidden": "true" }, cell);
    };
    const rows = [];
    for (let at = first; at < end; at++) rows.push(this.line(at));
    byId("rows").replaceChildren(...(first ? [gap(first * ROW)] : []), ...rows, ...(end < this.total ? [gap((this.total - end) * ROW)] : []));
  }

  line(at) {
    const row = this.row(at), chosen = at === this.selected;
    const line = make("tr", { class: `row${row?.mark === "drop" ? " drop" : ""}`, id: `row-${at}`, "aria-rowindex": at + 2, "aria-selected": String(chosen) });
    if (!row) line.append(make("td", { colspan: this.columns.length, class: "soft" }, "…"));
    else line.append(...this.columns.map((column) => cell(column, row[column.name])));
    line.addEventListener("click", () => { this.select(at); this.box.focus({ preventScroll: true }); });
    return line;
  }

  move(step) {
    if (this.total) this.select(Math.min(this.total - 1, Math.max(0, this.selected + step)));
  }

  async select(at) {
    if (at === this.selected) return;
    this.selected = at;
    this.box.setAttribute("aria-activedescendant", `row-${at}`);
    const top = at * ROW, head = byId("head").offsetHeight;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + ROW + head > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW + head - this.box.clientHeight;
    this.draw();
    await this.load(Math.floor(at / PAGE));
    if (this.selected === at && this.row(at)) this.onSelect(this.row(at), at);
  }

  // Applies a change to the rows that are here, such as a mark.
  each(change) {
    for (const rows of this.pages.values()) for (const row of rows ?? []) change(row);
    this.draw();
  }
}

function cell(column, value) {
  if (column.kind === "number") return make("td", { class: "number" }, shown(value, column.unit));
  if (column.kind === "set") return make("td", {}, ...(value ?? []).map((each) => make("span", { class: "tag" }, each)));
  return make("td", { class: column.name === "row_id" ? "id" : "", dir: "auto", title: value ?? "" }, value ?? "");
}

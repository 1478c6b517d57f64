// Ties controls, tables and plots together. All text goes in as text, never as markup.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const task = byId("task");
  const threat = byId("threat");
  const filter = byId("filter");
  const FULL = 10; // up to so many rows are all drawn at first

  function options(select, names) {
    const before = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(before)) select.value = before;
    select.disabled = names.length < 2;
  }

  const unique = (names) => [...new Set(names)];

  class View {
    constructor(section) {
      this.section = section;
      this.element = byId(section.id);
      this.table = this.element.querySelector("table.standings");
      this.canvas = this.element.querySelector(".canvas");
      this.rows = new Map(section.rows.map((row) => [row.id, row]));
      this.inputs = Object.fromEntries([...this.element.querySelectorAll("[data-plot]")].map((e) => [e.dataset.plot, e]));
      this.setUp();
    }

    setUp() {
      Standings.makeSortable(this.table);
      const attacks = unique(this.section.rows.flatMap((row) => row.curves.map((curve) => curve.attack)));
      this.inputs.attack.append(new Option("strongest of each row", "strongest"), new Option("all", "all"), ...attacks.map((name) => new Option(name, name)));
      const points = this.section.rows.flatMap((row) => row.curves.flatMap((curve) => curve.points));
      if (points.length && points.every((point) => point.compute === null)) this.inputs.x.value = "queries";
      if (this.section.rows.some((row) => row.worst)) this.inputs.attack.append(new Option("worst case over attacks", "worst"));
      if (attacks.length < 2) this.inputs.attack.closest("label").hidden = true;
      const first = this.first();
      for (const row of this.section.rows) {
        const box = this.box(row.id);
        box.checked = first.has(row.id);
        box.addEventListener("change", () => this.draw());
      }
      for (const input of Object.values(this.inputs)) input.addEventListener("change", () => this.draw());
      this.element.querySelector(".plot").hidden = false;
    }

    // Of a long table: each victim undefended, and the last round of each of its defenses.
    first() {
      const rows = this.section.rows;
      if (rows.length <= FULL) return new Set(this.rows.keys());
      const last = new Map();
      for (const row of rows) {
        const name = `${row.victim}\n${row.defense}`;
        if (!last.has(name) || (row.round ?? 0) > (last.get(name).round ?? 0)) last.set(name, row);
      }
      return new Set([...last.values()].slice(0, FULL).map((row) => row.id));
    }

    box(id) {
      return byId(id).querySelector("input[type=checkbox]");
    }

    apply(words) {
      const attacks = (id) => this.rows.get(id).curves.map((curve) => curve.attack).join(" ");
      const shown = Standings.filter(this.table, words, attacks);
      this.element.querySelector(".empty").hidden = shown > 0;
      return shown;
    }

    async draw() {
      if (this.element.hidden) return;
      for (const [id, colour] of Plot.colours(this.section.rows)) this.box(id).style.setProperty("--series", colour);
      const { attack, x, y, fit, zeros } = this.inputs;
      const rows = this.section.rows.filter((row) => !byId(row.id).hidden && this.box(row.id).checked);
      const settings = { attack: attack.value, x: x.value, y: y.value, fit: fit.checked };
      const { left, unknown } = await Plot.draw(this.canvas, this.section, rows, settings);
      zeros.textContent = left && y.value === "log" ? ` A log axis has no 0: ${left} ${left === 1 ? "point without a success is" : "points without a success are"} left out.` : "";
      if (unknown) zeros.textContent += ` ${unknown} ${unknown === 1 ? "point" : "points"} of unknown compute ${unknown === 1 ? "is" : "are"} left out.`;
    }
  }

  const views = data.sections.map((section) => new View(section));
  const matrices = [...document.querySelectorAll("section.transfer")];

  function show() {
    options(threat, unique(data.sections.filter((s) => s.task === task.value).map((s) => s.threat)));
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    let total = 0;
    for (const view of views) {
      view.element.hidden = view.section.task !== task.value || view.section.threat !== threat.value;
      const matching = view.apply(words);
      if (view.element.hidden) continue;
      shown += matching;
      total += view.rows.size;
    }
    for (const matrix of matrices) matrix.hidden = matrix.dataset.task !== task.value;
    byId("count").textContent = words.length ? `${shown} of ${total} rows` : `${total} rows`;
    return Promise.all(views.map((view) => view.draw()));
  }

  options(task, unique(data.sections.map((section) => section.task)));
  byId("controls").hidden = false;
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  task.addEventListener("change", show);
  threat.addEventListener("change", show);
  let waiting = 0;
  filter.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 120); // one drawing per pause in typing
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
})();

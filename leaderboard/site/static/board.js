// The standings page: ties controls, tables and plots together. All text goes in as text, never as markup.
"use strict";

(async () => {
  const data = await window.leaderboardData;
  const byId = (id) => document.getElementById(id);
  const TICKED = 4; // rows at first: as many as can be told apart and compared
  const COMPARED = [2, 5];
  const unique = (names) => [...new Set(names)];
  const controls = { task: byId("task"), threat: byId("threat"), victim: byId("victim"), defense: byId("defense"), q: byId("filter") };

  function options(select, names, any) {
    const before = select.value;
    const all = any ? [["", any], ...names.map((name) => [name, name])] : names.map((name) => [name, name]);
    select.replaceChildren(...all.map(([value, name]) => new Option(name, value)));
    if (names.includes(before)) select.value = before;
    select.disabled = names.length < 2;
    if (any) select.closest("label").hidden = names.length < 2; // nothing to choose
  }

  class View {
    constructor(section) {
      this.section = section;
      this.element = byId(section.id);
      this.table = this.element.querySelector("table.standings");
      this.rows = new Map(section.rows.map((row) => [row.id, row]));
      this.first = this.drawnAtFirst();
      for (const row of section.rows) {
        const box = this.box(row.id);
        box.checked = this.first.has(row.id);
        box.addEventListener("change", () => this.ticked());
      }
      Standings.makeSortable(this.table, store);
      this.figure = new Figures.Figure(this.element.querySelector("figure.plot"), section, () => section.rows.filter((row) => !byId(row.id).hidden && this.box(row.id).checked), { palette: () => section.rows, changed: store, none: () => this.none() });
      this.element.querySelector("[data-tick]").addEventListener("click", () => { this.tick(this.section.rows.map(({ id }) => id).filter((id) => !byId(id).hidden)); this.ticked(); });
      this.element.querySelector("[data-untick]").addEventListener("click", () => { this.tick([]); this.ticked(); });
      this.element.querySelector("[data-compare]").addEventListener("click", () => { location.href = `compare.html#${Address.text({ rows: this.ids().join(","), back: location.hash.slice(1) })}`; });
      this.element.querySelector(".choice").hidden = false;
      const scroll = this.table.parentElement;
      scroll.addEventListener("scroll", () => scroll.classList.toggle("scrolled", scroll.scrollLeft > 0), { passive: true });
      new ResizeObserver(() => { this.element.querySelector(".wider").hidden = scroll.scrollWidth <= scroll.clientWidth; }).observe(scroll);
    }

    // The first rows that are shown, of each defense its last round.
    drawnAtFirst() {
      const last = new Map();
      for (const row of this.section.rows.filter(({ id }) => !byId(id).hidden)) if (!last.has(row.entry) || (row.round ?? 0) > (last.get(row.entry).round ?? 0)) last.set(row.entry, row);
      return new Set([...last.values()].slice(0, TICKED).map((row) => row.id));
    }

    box(id) {
      return byId(id).querySelector("input[type=checkbox]");
    }

    ids() {
      return this.section.rows.map((row) => row.id).filter((id) => this.box(id).checked);
    }

    tick(ids) {
      for (const id of this.rows.keys()) this.box(id).checked = ids.includes(id);
    }

    ticked() {
      this.choice();
      this.draw();
      store();
    }

    // Of the ticked rows, how many the filters hide.
    hiddenTicks() {
      return this.ids().filter((id) => byId(id).hidden).length;
    }

    // Why nothing is drawn.
    none() {
      const count = this.hiddenTicks();
      return count ? `${count === 1 ? "The ticked row is" : `All ${count} ticked rows are`} hidden by the filters. Clear them, or tick a row that is shown.` : "No row is ticked.";
    }

    // What the button may do with the ticked rows.
    choice() {
      const count = this.ids().length;
      const hidden = this.hiddenTicks();
      const button = this.element.querySelector("[data-compare]");
      button.disabled = count < COMPARED[0] || count > COMPARED[1];
      this.element.querySelector(".ticked").textContent = `${count} ticked${hidden ? `, ${hidden} of them hidden by the filters` : ""}${button.disabled ? `; tick ${COMPARED[0]} to ${COMPARED[1]} to compare` : ""}`;
    }

    apply(words, chosen) {
      const names = (row) => [row.victim, row.family, row.defense, row.round === null ? "" : `round ${row.round}`, ...row.marks, ...row.curves.map((curve) => curve.attack)].join(" ");
      const own = this.same();
      const shown = Standings.filter(this.table, words, chosen, (id) => names(this.rows.get(id)));
      this.first = this.drawnAtFirst();
      if (own) this.tick([...this.first]); // until somebody ticks, they follow what is shown
      for (const item of this.element.querySelectorAll(".best li")) item.hidden = Boolean(chosen.victim) && item.dataset.victim !== chosen.victim;
      this.choice();
      this.element.querySelector(".empty").hidden = shown > 0;
      return shown;
    }

    // Whether the ticks are those of the page's own choice.
    same() {
      return this.ids().length === this.first.size && this.ids().every((id) => this.first.has(id));
    }

    // Sort, ticks and plot, as the address has them; "" for what is as it was at first.
    state() {
      const same = this.same();
      const plot = Object.entries(this.figure.state()).filter(([name, value]) => value !== this.figure.defaults[name]);
      return { sort: Standings.sorted(this.table), rows: same ? "" : this.ids().join(",") || "none", ...Object.fromEntries(plot) };
    }

    restore(state) {
      Standings.restore(this.table, state.sort);
      this.tick(state.rows ? state.rows.split(",") : [...this.first]);
      this.figure.restore(state);
      this.choice();
    }

    draw() {
      if (this.element.hidden) return null;
      for (const [id, colour] of PlotStyle.colours(this.section.rows)) this.box(id).style.setProperty("--series", colour);
      return this.figure.draw();
    }
  }

  const current = () => views.filter((view) => !view.element.hidden);

  function store() {
    const first = current()[0];
    const chosen = Object.fromEntries(Object.entries(controls).map(([name, input]) => [name, input.value]));
    if (controls.task.selectedIndex === 0 && controls.threat.selectedIndex === 0) Object.assign(chosen, { task: "", threat: "" });
    Address.write({ ...chosen, ...(first ? first.state() : {}) });
    // Pages of rows lead back to this view.
    const back = location.hash.slice(1);
    for (const link of document.querySelectorAll("table.standings tbody th a, .best a")) link.hash = Address.text({ back, round: link.dataset.round });
  }

  function restore() {
    const state = Address.read();
    const choose = (select, value) => { if ([...select.options].some((option) => option.value === value)) select.value = value; };
    if (state.task !== undefined) choose(controls.task, state.task); else controls.task.selectedIndex = 0;
    offer();
    if (state.threat !== undefined) choose(controls.threat, state.threat); else controls.threat.selectedIndex = 0;
    offer();
    for (const name of ["victim", "defense"]) { controls[name].value = ""; choose(controls[name], state[name] ?? ""); }
    controls.q.value = state.q ?? "";
    for (const view of views) {
      view.element.hidden = view.section.task !== controls.task.value || view.section.threat !== controls.threat.value;
      view.restore(view === current()[0] ? state : {});
    }
  }

  // What can be chosen, given the task and the threat model.
  function offer() {
    options(controls.threat, unique(data.sections.filter((s) => s.task === controls.task.value).map((s) => s.threat)));
    const rows = data.sections.filter((s) => s.task === controls.task.value && s.threat === controls.threat.value).flatMap((s) => s.rows);
    options(controls.victim, unique(rows.map((row) => row.victim)), "all");
    options(controls.defense, unique(rows.map((row) => row.defense)), "all");
  }

  function show() {
    offer();
    const words = controls.q.value.toLowerCase().match(/round\s+\d+|\S+/g)?.map((word) => word.replace(/\s+/, " ")) ?? [];
    const chosen = { victim: controls.victim.value, defense: controls.defense.value };
    let [shown, total] = [0, 0];
    for (const view of views) {
      view.element.hidden = view.section.task !== controls.task.value || view.section.threat !== controls.threat.value;
      const matching = view.apply(words, chosen);
      if (view.element.hidden) continue;
      shown += matching;
      total += view.rows.size;
    }
    for (const matrix of document.querySelectorAll("section.transfer")) matrix.hidden = matrix.dataset.task !== controls.task.value;
    for (const judged of document.querySelectorAll("section.judges")) judged.hidden = judged.dataset.task !== controls.task.value || judged.dataset.threat !== controls.threat.value;
    byId("count").textContent = shown < total ? `${shown} of ${total} rows` : `${total} ${total === 1 ? "row" : "rows"}`;
    return Promise.all(views.map((view) => view.draw()));
  }

  options(controls.task, unique(data.sections.map((section) => section.task)));
  offer();
  const views = data.sections.map((section) => new View(section));
  restore();
  byId("controls").hidden = false;
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["task", "threat", "victim", "defense"]) controls[name].addEventListener("change", () => { show(); store(); });
  let waiting = 0;
  controls.q.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { show(); store(); }, 120); // one drawing per pause in typing
  });
  Address.watch(() => { restore(); show(); store(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
  store();
})();

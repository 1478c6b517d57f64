// A figure: its switches, its drawing, its numbers as a table, and its downloads.
"use strict";

const Figures = (() => {
  const KINDS = { attack: AttackPlot, offense: OffensePlot, rounds: RoundsPlot, pareto: ParetoPlot };
  const NAMES = { attack: "ASR against attack compute", offense: "cost to break against cost to defend", rounds: "ASR against rounds", pareto: "utility against robustness" };
  const unique = (names) => [...new Set(names)];

  class Figure {
    // rows(): what is to be drawn now; palette(): the rows among which colours are given out; changed(): after a switch was
    // used; none(): why there is no row to draw.
    constructor(element, section, rows, { palette = rows, changed = () => {}, none = () => "No row is ticked." } = {}) {
      Object.assign(this, { element, section, rows, palette, changed, none, legend: { series: [], attack: [] } });
      this.canvas = element.querySelector(".canvas");
      this.inputs = Object.fromEntries([...element.querySelectorAll("[data-plot]")].map((input) => [input.dataset.plot, input]));
      this.setUp();
      this.defaults = this.state();
    }

    setUp() {
      const rows = this.section.rows;
      const { kind, attack, x, utility } = this.inputs;
      const { kinds, attack: first, x: axis } = this.element.dataset;
      this.only = Boolean(kinds && first); // a page about one attack
      const rounds = rows.some((row) => row.round !== null);
      const measures = ParetoPlot.measures(rows);
      const possible = { attack: true, offense: rounds, rounds, pareto: measures.length > 0 };
      utility.append(...measures.map(([task, name]) => new Option(name, task)));
      kind.append(...Object.keys(KINDS).filter((name) => (kinds ? kinds.split(" ").includes(name) : possible[name])).map((name) => new Option(NAMES[name], name)));
      kind.closest("label").hidden = kind.options.length < 2;
      this.attacks = unique(rows.flatMap((row) => row.curves.map((curve) => curve.attack)));
      attack.append(new Option("strongest of each row", "strongest"), new Option("each by itself", "all"), ...this.attacks.map((name) => new Option(name, name)));
      if (rows.some((row) => row.worst)) attack.append(new Option("any attack (worst case)", "worst"));
      if (first) attack.value = first;
      const computes = rows.flatMap((row) => row.curves.flatMap((curve) => curve.points.compute));
      if (computes.length && computes.every((compute) => compute === null)) x.value = "queries";
      this.fixed = axis; // the only unit in which compute is known
      if (axis) x.value = axis;
      for (const input of Object.values(this.inputs)) input.addEventListener("change", () => { this.draw(); this.changed(); });
      for (const button of this.element.querySelectorAll("[data-save]")) button.addEventListener("click", () => this.save(button.dataset.save));
      this.table = this.element.querySelector("details.numbers");
      this.table.addEventListener("toggle", () => this.tell());
      this.curves = this.element.querySelector("details.curves");
      this.curves.addEventListener("toggle", () => this.tellCurves());
      this.element.hidden = false;
    }

    state() {
      const { kind, attack, x, y, utility, front, fit } = this.inputs;
      return { kind: kind.value, attack: attack.value, x: x.value, y: y.value, utility: utility.value, front: front.value, fit: fit.checked ? "1" : "", legend: this.legend.series.join(","), legend_attack: this.legend.attack.join("|") };
    }

    // Takes what it knows of ``state`` and leaves the rest as it is at first.
    restore(state) {
      for (const name of ["kind", "attack", "x", "y", "utility", "front"]) {
        const value = state[name] ?? this.defaults[name];
        if ([...this.inputs[name].options].some((option) => option.value === value)) this.inputs[name].value = value;
      }
      this.inputs.fit.checked = (state.fit ?? this.defaults.fit) === "1";
      const listed = (text, separator) => (text ?? "").split(separator).filter(Boolean);
      this.legend = { series: listed(state.legend, ","), attack: listed(state.legend_attack, "|") };
    }

    async draw() {
      const settings = { ...this.state(), fit: this.inputs.fit.checked, palette: this.palette(), legend: this.legend };
      const kind = KINDS[settings.kind];
      for (const name of ["attack", "x", "y", "utility", "front", "fit"]) this.inputs[name].closest("label").hidden = !kind.controls.includes(name) || (name === "attack" && (this.attacks.length < 2 || this.only)) || (name === "x" && Boolean(this.fixed)) || (name === "utility" && this.inputs.utility.options.length < 2);
      this.element.querySelector(".plot-title").textContent = kind.title;
      if (settings.kind === "offense" && settings.x === "queries") settings.x = "share";
      const chosen = this.rows();
      // Over rounds, a defense is drawn with all of its rounds.
      const rows = ["attack", "pareto"].includes(settings.kind) ? chosen : this.section.rows.filter((row) => chosen.some((each) => each.entry === row.entry));
      const ticket = (this.ticket = {}); // a slow drawing never replaces a newer one
      this.drawn = rows.length ? kind.draw(this.section, rows, settings) : { nothing: this.none(), drawn: [], left: 0, unknown: 0 };
      this.kind = settings.kind;
      this.explain(kind, settings);
      this.tell();
      this.tellCurves();
      const box = document.createElement("div");
      for (const button of this.element.querySelectorAll("[data-save]")) button.disabled = Boolean(this.drawn.nothing);
      if (this.drawn.nothing) {
        box.className = "nothing";
        box.textContent = this.drawn.nothing;
        this.canvas.replaceChildren(box);
        return;
      }
      this.canvas.style.minHeight = `${this.canvas.offsetHeight}px`; // the page does not jump while the new plot is made
      this.canvas.replaceChildren(box);
      const made = await vegaEmbed(box, this.drawn.spec, { mode: "vega-lite", renderer: "svg", tooltip: { theme: PlotStyle.isDark() ? "dark" : "light" }, actions: false, expressionFunctions: { power: PlotStyle.power } });
      if (this.ticket !== ticket) return;
      this.view = made.view;
      this.follow(rows);
      this.canvas.style.minHeight = "";
    }

    // Keeps what the legend singles out, for the address.
    follow(rows) {
      const id = (series) => rows.find((row) => row.series === series)?.id;
      const names = new Set((this.drawn.spec.layer[0].params ?? []).map(({ name }) => name));
      for (const name of names) {
        this.view.addSignalListener(name, (_, value) => {
          const chosen = value?.[name] ?? [];
          this.legend[name] = name === "series" ? chosen.map(id).filter(Boolean) : [...chosen];
          this.changed();
        });
      }
    }

    explain(kind, settings) {
      const { left, unknown, nothing } = this.drawn;
      let more = "";
      if (!nothing && left && settings.kind === "attack" && settings.y === "log") more += ` A log axis has no 0: ${left} ${left === 1 ? "point without a success is" : "points without a success are"} left out.`;
      if (!nothing && left && settings.kind === "offense") more += ` ${left} ${left === 1 ? "round of unknown compute or with missing cells is" : "rounds of unknown compute or with missing cells are"} left out.`;
      if (!nothing && left && settings.kind === "pareto") more += ` ${left} ${left === 1 ? "row without this utility, or that was not attacked, is" : "rows without this utility, or that were not attacked, are"} left out.`;
      if (!nothing && unknown) more += ` ${unknown} ${unknown === 1 ? "point of unknown compute is" : "points of unknown compute are"} left out.`;
      this.element.querySelector(".explain").textContent = kind.explain(settings) + more;
    }

    // The drawn numbers as a table, made when it is opened.
    tell() {
      this.table.querySelector("table")?.parentElement.remove();
      this.table.hidden = Boolean(this.drawn?.nothing);
      if (!this.table.open || !this.drawn || this.drawn.nothing) return;
      const cell = (tag, text, scope) => Object.assign(document.createElement(tag), { textContent: text ?? "", ...(scope ? { scope } : {}) });
      const line = (cells) => { const row = document.createElement("tr"); row.append(...cells); return row; };
      const head = document.createElement("thead");
      const body = document.createElement("tbody");
      const columns = this.columns();
      head.append(line(columns.map(({ title }) => cell("th", title, "col"))));
      const said = (point, { name, write }) => (write ? write(point[name], point) : point[name]);
      for (const point of this.drawn.drawn) body.append(line(columns.map((column, at) => cell(at ? "td" : "th", said(point, column), at ? "" : "row"))));
      const table = document.createElement("table");
      table.className = "plain";
      table.append(cell("caption", `${KINDS[this.kind].title}: ${this.section.task}, ${this.section.threat}`), head, body);
      table.caption.className = "unseen";
      const scroll = document.createElement("div");
      Object.assign(scroll, { className: "scroll tall", tabIndex: 0 });
      scroll.setAttribute("role", "region");
      scroll.setAttribute("aria-label", `Numbers of the plot, ${this.section.task}, ${this.section.threat}, ${this.section.id.slice(-6)}`);
      scroll.append(table);
      this.table.append(scroll);
    }

    // Those that the drawn points have.
    columns() {
      return this.drawn.columns.filter(({ name }) => this.drawn.drawn.some((point) => point[name] !== undefined));
    }

    // A button for each drawn curve, made when they are asked for.
    tellCurves() {
      this.curves.querySelector("ul")?.remove();
      this.curves.hidden = Boolean(this.drawn?.nothing);
      if (!this.curves.open || !this.drawn || this.drawn.nothing) return;
      const list = Object.assign(document.createElement("ul"), { className: "chips" });
      const several = this.kind === "attack" && unique(this.drawn.drawn.map(({ attack }) => attack)).length > 1;
      const name = (point) => (several ? `${point.series} · ${point.attack}` : point.series);
      for (const curve of unique(this.drawn.drawn.map(name))) {
        const points = this.drawn.drawn.filter((point) => name(point) === curve);
        const button = Object.assign(document.createElement("button"), { type: "button", textContent: curve });
        button.addEventListener("click", () => this.saveCsv(points, curve.toLowerCase().replace(/[^a-z0-9]+/g, "-")));
        const item = document.createElement("li");
        item.append(button);
        list.append(item);
      }
      this.curves.append(list);
    }

    // Numbers as in data.json, with all their digits.
    saveCsv(points, name) {
      hand(URL.createObjectURL(new Blob([this.csv(points)], { type: "text/csv" })), `${this.kind}-${name}.csv`);
    }

    csv(points) {
      const columns = this.columns().map(({ name }) => name);
      const quoted = (value) => (/[",\n\r]/.test(`${value ?? ""}`) ? `"${`${value}`.replaceAll('"', '""')}"` : `${value ?? ""}`);
      return [columns, ...points.map((point) => columns.map((name) => point[name]))].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
    }

    async save(form) {
      if (!this.view || this.drawn.nothing) return;
      const name = `${this.kind}-${this.section.id}.${form}`;
      if (form === "csv") return this.saveCsv(this.drawn.drawn, this.section.id);
      if (form === "svg") return hand(URL.createObjectURL(new Blob([await this.view.toSVG()], { type: "image/svg+xml" })), name);
      const canvas = await this.view.toCanvas(2, { background: PlotStyle.style("--card") });
      // A transparent picture of a dark page is unreadable on a white one, hence the page's colour behind it.
      const solid = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
      const context = solid.getContext("2d");
      context.fillStyle = PlotStyle.style("--card");
      context.fillRect(0, 0, solid.width, solid.height);
      context.drawImage(canvas, 0, 0);
      solid.toBlob((blob) => hand(URL.createObjectURL(blob), name));
    }
  }

  function hand(address, name) {
    const link = Object.assign(document.createElement("a"), { href: address, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  // Figures that name their rows in the page itself.
  function fromPage(data) {
    for (const element of document.querySelectorAll("figure[data-section]")) {
      const section = data.sections.find((each) => each.id === element.dataset.section);
      const rows = element.dataset.rows.split(" ").map((id) => section.rows.find((row) => row.id === id));
      const figure = new Figure(element, section, () => rows);
      figure.draw();
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figure.draw());
    }
  }

  return { Figure, fromPage };
})();

// Two to five rows of one table, side by side, in the texts of the standings, which the page holds.
"use strict";

(async () => {
  const data = await window.leaderboardData;
  const MOST = 5;
  const board = document.getElementById("compared");
  const figure = document.querySelector("figure.plot");
  const texts = document.getElementById("texts").content;

  // Against the first row: how many times its cost to break, where both may be held against each other: they met the
  // same attacks. Of another victim as a multiple of its reference compute, unless FLOPs are asked for.
  function ratio(row, first, unit) {
    const attacks = (each) => each.curves.map((curve) => curve.attack).join();
    if (row === first || !row.comparable || !first.comparable || attacks(row) !== attacks(first)) return "";
    const alike = row.family === first.family && row.victim === first.victim;
    const cost = (each) => (alike || unit === "flops" ? each.breaking?.compute : each.breaking_of_reference);
    const times = cost(row) / cost(first);
    return times > 0 && Number.isFinite(times) ? `${Numbers.multiple(times)} the first${alike || unit === "flops" ? "" : ", of reference"}` : "";
  }

  const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

  function table(section, rows) {
    const head = document.createElement("tr");
    head.append(make("td", ""));
    for (const row of rows) {
      const cell = make("th", "", { scope: "col", className: "num" });
      const link = make("a", row.victim, { href: `entries/${row.entry}.html#${Address.text({ back: Address.read().back, round: row.round })}` });
      cell.append(link, make("span", row.defense + (row.round === null ? "" : ` · round ${row.round}`), { className: "fine" }));
      cell.style.setProperty("--series", PlotStyle.colours(section.rows).get(row.id));
      head.append(cell);
    }
    const body = [...texts.querySelectorAll(`table[data-section="${section.id}"] tr`)].map((of) => {
      const line = of.cloneNode(true);
      const cells = rows.map((row) => [...line.cells].find((cell) => cell.dataset.row === row.id));
      line.replaceChildren(line.cells[0], ...cells);
      const times = "cost" in line.dataset ? rows.map((row) => ratio(row, rows[0], section.rank_unit)) : [];
      times.forEach((said, at) => { if (said) cells[at].append(make("span", said, { className: "fine" })); });
      return cells.some((cell) => !["", "–"].includes(cell.textContent.trim())) ? line : null; // it says nothing of these rows
    }).filter(Boolean);
    const found = board.querySelector("table");
    found.caption.textContent = `${section.task}, ${section.threat}`;
    found.tHead.replaceChildren(head);
    found.tBodies[0].replaceChildren(...body);
    Tips.watch(found);
  }

  let drawn = null;
  let rows = [];

  function show() {
    const state = Address.read();
    const ids = (state.rows ?? "").split(",").filter(Boolean);
    const section = data.sections.find((each) => each.rows.some((row) => row.id === ids[0]));
    rows = section ? ids.map((id) => section.rows.find((row) => row.id === id)).filter(Boolean).slice(0, MOST) : [];
    const enough = rows.length >= 2;
    board.hidden = !enough;
    document.getElementById("nothing").hidden = enough;
    if (!enough) { figure.hidden = true; return; }
    document.getElementById("scope").textContent = `${section.task} · ${section.threat}`;
    table(section, rows);
    if (!drawn || drawn.section !== section) drawn = new Figures.Figure(figure, section, () => rows, { palette: () => section.rows, changed: () => store(state) });
    figure.hidden = false;
    drawn.restore(state);
    drawn.draw();
  }

  function store(state) {
    const changed = Object.entries(drawn.state()).filter(([name, value]) => value !== drawn.defaults[name]);
    Address.write({ rows: state.rows, back: state.back, ...Object.fromEntries(changed) });
  }

  Address.watch(() => location.reload()); // another choice of rows
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
})();

// Two to five rows of one table, side by side.
"use strict";

(async () => {
  const data = await window.leaderboardData;
  const MOST = 5;
  const board = document.getElementById("compared");
  const figure = document.querySelector("figure.plot");
  const { power } = PlotStyle;
  const percent = (value) => `${(100 * value).toFixed(1)}%`;
  const flops = (value) => (value === null ? "compute unknown" : value === 0 ? "0" : power(Number(value.toPrecision(2))));
  const ofOneModel = (found) => (found.seeds === 1 ? ", one model only" : "");
  const rate = (found) => (found === null ? ["–", ""] : [percent(found.value), `${(100 * found.low).toFixed(1)} – ${percent(found.high)}${ofOneModel(found)}`]);

  function size(count) {
    if (count === null) return "unknown";
    const [divisor, letter] = [[1e9, "B"], [1e6, "M"], [1e3, "k"]].find(([least]) => count >= least) ?? [1, ""];
    return `${Number((count / divisor).toPrecision(3))}${letter}`;
  }

  function breaking(found) {
    if (!found) return ["–", "nothing was attacked"];
    if (found.compute !== null) return [flops(found.compute), `${flops(found.low)} – ${found.high === null ? "beyond the budget" : flops(found.high)}${ofOneModel(found)}`];
    if (found.reached || found.within === null) return ["compute unknown", `${found.reached ? "broken after" : "not broken within"} ${Number(found.queries.toPrecision(3))} ${found.queries === 1 ? "query" : "queries"}`];
    return ["not broken", `within ${flops(found.within)}${ofOneModel(found)}`];
  }

  // Against the first row: how many times its cost to break, where both may be held against each other: they met the
  // same attacks. Of another victim as a multiple of its reference compute, unless FLOPs are asked for.
  function ratio(row, first, unit) {
    const attacks = (each) => each.curves.map((curve) => curve.attack).join();
    if (row === first || !row.comparable || !first.comparable || attacks(row) !== attacks(first)) return "";
    const alike = row.family === first.family && row.victim === first.victim;
    const cost = (each) => (alike || unit === "flops" ? each.breaking?.compute : each.breaking_of_reference);
    const times = cost(row) / cost(first);
    return times > 0 && Number.isFinite(times) ? `${Number(times.toPrecision(2))}× the first${alike || unit === "flops" ? "" : ", of reference"}` : "";
  }

  // Why examples were not attacked, and which answers have no verdict.
  function notCounted(row) {
    const reasons = Object.entries(row.excluded ?? {}).map(([reason, count]) => `${count} ${reason}`);
    return [
      reasons.length ? `not attacked: ${reasons.join(", ")}` : "",
      row.missing_clean ? `${row.missing_clean} clean without an answer` : "",
      row.unparseable_clean ? `${row.unparseable_clean} clean that could not be judged` : "",
      row.missing_answers ? `${row.missing_answers} attacked without an answer` : "",
      row.unparseable ? `${row.unparseable} could not be judged` : "",
    ];
  }

  // Of each share what the defense loses of the undefended victim's.
  function losses(row) {
    const points = (share) => (100 * share).toFixed(1).replace("-", "−");
    return (row.utilities ?? []).filter((each) => each.loss).map(({ name, loss }) => `${name}: ${points(loss.value)} points (${points(loss.low)} to ${points(loss.high)})${ofOneModel(loss)}`);
  }

  function lines(section, rows) {
    const target = `${+(100 * section.target_asr).toPrecision(4)}%`;
    const attacks = [...new Set(rows.flatMap((row) => row.curves.map((curve) => curve.attack)))];
    const ends = (row, name) => {
      const curve = row.curves.find((each) => each.attack === name);
      const at = curve ? AttackPlot.points(curve.points).at(-1) : undefined;
      return at ? rate({ ...at, seeds: curve.seeds }) : ["–", "not run"];
    };
    const out = [
      ["Rank", (row) => (row.rank ? [row.rank === row.worst_rank ? row.rank : `${row.rank} – ${row.worst_rank}`, `of ${row.ranked}`] : ["–", row.rank_note ?? ""])],
      ["Size", (row) => [size(row.n_params), row.family]],
      ...(rows.some((row) => row.answered) ? [[section.clean === "answered when clean" ? "Harmless prompts refused" : "Harmful prompts answered", (row) => [...rate(row.answered ?? null), row.answered ? `${row.answered.clean} of ${row.answered.trials} without an attack` : ""]]] : []),
      [section.clean[0].toUpperCase() + section.clean.slice(1), (row) => rate(row.clean)],
      ["ASR at full budget", (row) => rate(row.asr)],
      ...(rows.some((row) => row.corrected) ? [["ASR without the judge’s errors", (row) => (row.corrected ? (row.corrected.value === null ? ["–", row.corrected.note] : rate({ ...row.corrected, seeds: row.corrected.seen.seeds })) : ["–", "no calibration of the judge"])]] : []),
      ...(rows.some((row) => losses(row).length) ? [["Loss of utility", (row) => ["", ...losses(row)]]] : []),
      [`Compute to ASR ${target}`, (row) => [...breaking(row.breaking), row.breaking_of_reference ? `${power(Number(row.breaking_of_reference.toPrecision(2)))}× reference` : "", ratio(row, rows[0], section.rank_unit)]],
      ["Cheapest attack", (row) => [row.breaking?.attack ?? "–", ""]],
      ["Defense compute", (row) => [flops(row.defense_compute), row.defense_compute && row.reference_compute ? `${power(Number((row.defense_compute / row.reference_compute).toPrecision(2)))}× reference` : ""]],
    ];
    if (rows.some((row) => row.overhead)) out.push(["Overhead per answer", (row) => (row.overhead ? [row.overhead.ratio === null ? flops(row.overhead.flops) : `${Number(row.overhead.ratio.toPrecision(2))}×`, row.overhead.ratio === null ? "FLOPs" : `${flops(row.overhead.flops)} FLOPs`] : ["–", ""])]);
    if (rows.some((row) => row.balance)) out.push(["Offense–defense slope", (row) => (row.balance ? (row.balance.slope === null ? ["–", "not enough data"] : [row.balance.slope.toFixed(2), row.balance.slope_low === null ? "" : `${row.balance.slope_low.toFixed(2)} – ${row.balance.slope_high.toFixed(2)}${ofOneModel(row)}${row.balance.note ? ", a line does not fit" : ""}`]) : ["–", ""])]);
    out.push(["Examples", (row) => [row.examples, `${row.seeds} ${row.seeds === 1 ? "seed" : "seeds"}`, ...notCounted(row)]]);
    const directions = [...new Set(rows.flatMap((row) => (row.directions ?? []).map((each) => each.name)))];
    if (directions.length > 1) for (const name of directions) out.push([`ASR ${name}`, (row) => rate((row.directions ?? []).find((each) => each.name === name) ?? null)]);
    return [...out, ...attacks.map((name) => [`ASR under ${name}`, (row) => ends(row, name)])];
  }

  const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

  function table(section, rows) {
    const head = document.createElement("tr");
    head.append(make("td", ""));
    for (const row of rows) {
      const cell = make("th", "", { scope: "col", className: "num" });
      const link = make("a", row.victim, { href: `entries/${row.entry}.html#${Address.text({ back: Address.read().back })}` });
      cell.append(link, make("span", row.defense + (row.round === null ? "" : ` · round ${row.round}`), { className: "fine" }));
      cell.style.setProperty("--series", PlotStyle.colours(rows).get(row.id));
      head.append(cell);
    }
    const body = lines(section, rows).map(([name, of]) => {
      const line = document.createElement("tr");
      line.append(make("th", name, { scope: "row" }));
      for (const row of rows) {
        const [main, ...fine] = of(row);
        const cell = make("td", "", { className: "num" });
        cell.append(make("span", main, { className: "main" }), ...fine.filter(Boolean).map((text) => make("span", text, { className: "fine" })));
        line.append(cell);
      }
      return line;
    });
    const found = board.querySelector("table");
    found.caption.textContent = `${section.task}, ${section.threat}`;
    found.tHead.replaceChildren(head);
    found.tBodies[0].replaceChildren(...body);
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
    if (!drawn || drawn.section !== section) drawn = new Figures.Figure(figure, section, () => rows, { changed: () => store(state) });
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

// Attack success against rounds of the defense.
"use strict";

const RoundsPlot = (() => {
  const { digits, isNarrow } = PlotStyle;

  function rate(row, attack) {
    if (attack === "worst") return row.worst === null ? null : { name: "worst case over attacks", ...last(row.worst.points) };
    const name = attack === "strongest" || attack === "all" ? row.strongest?.attack : attack;
    const curve = row.curves.find((each) => each.attack === name);
    return curve && curve.points.value.length ? { name, ...last(curve.points) } : null;
  }

  const last = (columns) => AttackPlot.points(columns).at(-1);

  function values(section, rows, settings) {
    const drawn = [];
    for (const row of rows.filter((each) => each.round !== null)) {
      const series = `${row.victim} · ${row.defense}`;
      // Round 0 is the same victim undefended.
      const start = section.rows.find((each) => each.victim === row.victim && each.family === row.family && each.round === null && each.defense === "none");
      for (const at of [row, ...(start && !drawn.some((point) => point.series === series) ? [start] : [])]) {
        const found = rate(at, settings.attack);
        if (found === null) continue;
        drawn.push({ series, row: at.id, round: at === row ? row.round : 0, attack: found.name, value: found.value, low: found.low, high: found.high, interval: `${found.low} – ${found.high}`, count: `${found.successes} of ${found.trials}`, spent: digits(at.defense_compute) });
      }
    }
    return { drawn, fits: [], unknown: 0, left: 0 };
  }

  function draw(section, rows, settings) {
    const data = values(section, rows, settings);
    if (!data.drawn.length) return { nothing: "Not enough data: no drawn row has rounds.", ...data };
    const series = [...new Set(data.drawn.map((point) => point.series))];
    const x = { field: "round", type: "quantitative", axis: { title: "round of the defense (0: undefended)", values: [...new Set(data.drawn.map((point) => point.round))].sort((a, b) => a - b), labelOverlap: true, format: "d", grid: false } };
    const y = { field: "value", type: "quantitative", scale: { domain: [0, 1] }, axis: { title: isNarrow() ? null : "attack success rate at full budget", format: "~%", tickCount: 6 } };
    const color = { field: "series", type: "nominal", sort: null, scale: { domain: series, range: PlotStyle.named(series) }, legend: PlotStyle.legend() };
    const tooltip = [
      { field: "series", title: "row" }, { field: "round", title: "round" }, { field: "attack", title: "attack" }, { field: "value", type: "quantitative", format: "", title: "ASR" },
      { field: "interval", title: "95% interval" }, { field: "count", title: "broken" }, { field: "spent", title: "defense FLOPs" },
    ];
    const spec = {
      ...PlotStyle.frame(`Attack success rate against rounds of the defense, ${section.task}, ${section.threat}.`), data: { values: data.drawn },
      layer: [
        { mark: { type: "area", opacity: 0.13, aria: false }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color } },
        { mark: { type: "line", strokeWidth: 2, aria: false }, encoding: { x, y, color } },
        { mark: { type: "point", filled: true, size: 60, opacity: 1, aria: false, tooltip: true }, encoding: { x, y, color, tooltip } },
        ...PlotStyle.rule(y, section.target_asr, `target ${+(100 * section.target_asr).toPrecision(4)}%`),
      ],
    };
    return { spec, columns: COLUMNS, ...data };
  }

  const COLUMNS = [["series", "Row"], ["round", "Round"], ["attack", "Attack"], ["value", "ASR"], ["low", "Low"], ["high", "High"], ["count", "Broken"], ["spent", "Defense FLOPs"]];
  const title = "Attack success against rounds of the defense";
  const explain = () => "Points: attacked examples broken at the attack's full budget after each round, seeds pooled. Bands: 95% intervals, of one seed for that model only. How fast a defense learns, whatever its rounds cost.";

  return { draw, title, explain, controls: ["attack"] };
})();

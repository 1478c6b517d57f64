// Attack success against rounds of the defense.
"use strict";

const RoundsPlot = (() => {
  const { isNarrow } = PlotStyle;

  function rate(row, attack) {
    if (attack === "worst") return row.worst === null ? null : { name: "any attack (worst case)", ...last(row.worst.points) };
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
        drawn.push({ series, row: at.id, round: at === row ? row.round : 0, attack: found.name, value: found.value, low: found.low, high: found.high, successes: found.successes, trials: found.trials, spent: at.defense_compute });
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
    const color = { field: "series", type: "nominal", sort: null, scale: { domain: series, range: PlotStyle.named(series) }, legend: PlotStyle.legend({}, series) };
    const tooltip = PlotStyle.hover(HOVER);
    const spec = {
      ...PlotStyle.frame(`Attack success rate against rounds of the defense, ${section.task}, ${section.threat}.`), data: { values: PlotStyle.withTexts(data.drawn, HOVER) },
      layer: [
        { mark: { type: "area", opacity: 0.13, aria: false }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color } },
        { mark: { type: "line", strokeWidth: 2, aria: false }, encoding: { x, y, color } },
        { mark: { type: "point", filled: true, size: 60, opacity: 1, aria: false, tooltip: true }, encoding: { x, y, color, tooltip } },
        ...PlotStyle.rule(y, section.target_asr, `target ${Numbers.target(section.target_asr)}`),
      ],
    };
    return { spec, columns: COLUMNS, ...data };
  }

  const asr = [{ name: "value", title: "ASR", write: Numbers.percent }];
  const COLUMNS = [
    { name: "series", title: "Row" }, { name: "round", title: "Round" }, { name: "attack", title: "Attack" }, ...asr, { name: "low", title: "Low", write: Numbers.percent },
    { name: "high", title: "High", write: Numbers.percent }, { name: "successes", title: "Broken" }, { name: "trials", title: "Attacked" }, { name: "spent", title: "Defense FLOPs", write: Numbers.flops },
  ];
  const HOVER = [
    { name: "series", title: "row" }, { name: "round", title: "round" }, { name: "attack", title: "attack" }, ...asr,
    { name: "interval", title: "95% interval", write: (_, { low, high }) => Numbers.interval(low, high) }, { name: "count", title: "broken", write: (_, { successes, trials }) => `${successes} of ${trials}` },
    { name: "spent", title: "defense FLOPs", write: Numbers.flops },
  ];
  const title = "Attack success against rounds of the defense";
  const WHICH = { worst: "broken by any attack at its full budget", strongest: "broken by the strongest attack by itself at its full budget", all: "broken by the strongest attack by itself at its full budget" };
  const explain = (settings) => `Points: attacked examples ${WHICH[settings.attack] ?? `broken by ${settings.attack} at its full budget`} after each round, seeds pooled. Bands: 95% intervals, of one seed for that model only. How fast a defense learns, whatever its rounds cost.`;

  return { draw, title, explain, controls: ["attack"] };
})();

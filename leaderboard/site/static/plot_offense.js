// Compute to break against defense compute, over the rounds of each defense.
"use strict";

const OffensePlot = (() => {
  const { isNarrow } = PlotStyle;

  function values(rows, settings) {
    const drawn = [];
    const fits = [];
    for (const row of rows) {
      if (row.breaking === null || !row.defense_compute || row.missing?.length) continue; // a missing attack may be the cheapest
      const per = settings.x === "flops" ? 1 : row.reference_compute;
      const broken = row.breaking.compute !== null;
      const y = broken ? row.breaking.compute : row.breaking.reached ? null : row.breaking.within;
      if (per === null || !y) continue;
      const top = row.breaking.high ?? (broken && row.breaking.low !== null ? row.breaking.within : null);
      drawn.push({
        series: row.group ?? `${row.victim} · ${row.defense}`, path: row.path ?? row.entry, row: row.id, round: row.round, x: row.defense_compute / per, y: y / per, low: (row.breaking.low ?? y) / per, high: (top ?? y) / per,
        state: broken ? "broken" : "not broken within", attack: row.breaking.attack, needed: y, spent: row.defense_compute, needed_low: row.breaking.low, needed_high: row.breaking.high, broken,
      });
      const band = row.balance?.band;
      if (band) band.defense.forEach((x, at) => fits.push({ series: row.group ?? `${row.victim} · ${row.defense}`, x: (x * row.reference_compute) / per, y: (band.value[at] * row.reference_compute) / per, low: band.low ? (band.low[at] * row.reference_compute) / per : null, high: band.high ? (band.high[at] * row.reference_compute) / per : null }));
    }
    return { drawn, fits, unknown: 0, left: rows.filter((row) => row.defense_compute && row.breaking).length - drawn.length };
  }

  // Slope 1 through the middle of the points, as long as they reach.
  function stalemate(drawn) {
    const mean = (name) => drawn.reduce((sum, point) => sum + Math.log10(point[name]), 0) / drawn.length;
    const ends = [Math.min(...drawn.map((point) => point.x)), Math.max(...drawn.map((point) => point.x))];
    return ends.map((x) => ({ x, y: 10 ** (mean("y") + Math.log10(x) - mean("x")) }));
  }

  function draw(section, rows, settings) {
    const data = values(rows, settings);
    if (!data.drawn.length) return { nothing: "Not enough data: no drawn row has both a defense that cost compute and a known cost to break.", ...data };
    const unit = settings.x === "flops" ? "FLOPs (nominal)" : "share of reference compute";
    const series = [...new Set(data.drawn.map((point) => point.series))];
    const line = stalemate(data.drawn);
    const x = PlotStyle.logAxis("x", `defense compute, ${unit}`, data.drawn.map((point) => point.x), isNarrow() ? 2 : 3);
    const y = PlotStyle.logAxis("y", isNarrow() ? null : `compute to ASR ${Numbers.target(section.target_asr)}, ${unit}`, [...data.drawn.flatMap((point) => [point.low, point.high]), ...line.map((end) => end.y)], 3);
    const color = { field: "series", type: "nominal", sort: null, scale: { domain: series, range: PlotStyle.named(series) }, legend: PlotStyle.legend({}, series) };
    const tooltip = PlotStyle.hover(HOVER);
    const muted = PlotStyle.style("--muted");
    const spec = {
      ...PlotStyle.frame(`Compute to break against defense compute, ${section.task}, ${section.threat}.`), data: { values: PlotStyle.withTexts(data.drawn, HOVER) },
      layer: [
        { data: { values: line }, mark: { type: "line", strokeDash: [3, 4], strokeWidth: 1, color: muted, aria: false }, encoding: { x, y } },
        { data: { values: line.slice(1).map((end) => ({ ...end, text: "slope 1: stalemate" })) }, mark: { type: "text", align: "right", baseline: "bottom", dx: -6, dy: -6, fontSize: 11, color: muted, aria: false }, encoding: { x, y, text: { field: "text" } } },
        { mark: { type: "line", strokeWidth: 1.5, aria: false, clip: true }, encoding: { x, y, color, detail: { field: "path" }, opacity: { value: settings.fit ? 0.25 : 0.8 }, order: { field: "round" } } },
        ...(settings.fit && data.fits.length ? [
          ...(data.fits.some((point) => point.low !== null) ? [{ data: { values: data.fits.filter((point) => point.low !== null) }, mark: { type: "area", clip: true, aria: false, opacity: 0.14 }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color } }] : []),
          { data: { values: data.fits }, mark: { type: "line", strokeWidth: 2, clip: true, aria: false, strokeDash: [2, 3] }, encoding: { x, y, color } },
        ] : []),
        { mark: { type: "rule", strokeWidth: 1.5, aria: false, opacity: 0.55 }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color } },
        {
          mark: { type: "point", filled: true, size: 70, opacity: 1, aria: false, tooltip: true },
          encoding: { x, y, color, tooltip, shape: { field: "state", scale: { domain: ["broken", "not broken within"], range: ["circle", "triangle-up"] }, legend: null } },
        },
      ],
    };
    return { spec, columns: COLUMNS, ...data };
  }

  // The ends of an interval of what a row costs to break.
  const low = (value, { broken }) => (broken && value !== null ? Numbers.flops(value) : "–");
  const high = (value, { broken, needed_low }) => (!broken ? "no upper end" : needed_low === null ? "–" : value === null ? "beyond the budget" : Numbers.flops(value));
  const COLUMNS = [
    { name: "series", title: "Row" }, { name: "round", title: "Round" }, { name: "spent", title: "Defense FLOPs", write: Numbers.flops }, { name: "needed", title: "FLOPs to break", write: Numbers.flops },
    { name: "needed_low", title: "Low", write: low }, { name: "needed_high", title: "High", write: high }, { name: "state", title: "State" }, { name: "attack", title: "Attack" },
  ];
  const HOVER = [
    { name: "series", title: "row" }, { name: "round", title: "round" }, { name: "state", title: "state" }, { name: "needed", title: "FLOPs to break", write: Numbers.flops },
    { name: "interval", title: "95% interval", write: (_, point) => (point.broken && point.needed_low !== null ? `${low(point.needed_low, point)} – ${high(point.needed_high, point)}` : high(null, point)) },
    { name: "spent", title: "defense FLOPs", write: Numbers.flops }, { name: "attack", title: "attack" },
  ];
  const title = "Compute to break against defense compute";
  const explain = () => "Points: rounds of a defense, seeds pooled, with 95% intervals (of one seed for that model only); triangles were not broken within that compute. Along the dashed line (slope 1) attacker and defender must raise their spending alike; where a defense rises less steeply, the attacker gains.";

  return { draw, title, explain, controls: ["x", "fit"] };
})();

// Attack success against attack compute.
"use strict";

const AttackPlot = (() => {
  const { isNarrow } = PlotStyle;

  const AXIS = {
    flops: "attack compute per example, FLOPs (nominal)",
    share: "attack compute per example, share of reference compute",
    queries: "queries per example",
  };

  // Columns of data.json as one object per point.
  function points(columns) {
    const names = Object.keys(columns).filter((name) => Array.isArray(columns[name]));
    return columns.value.map((_, at) => ({ trials: columns.trials, ...Object.fromEntries(names.map((name) => [name, columns[name][at]])) }));
  }

  function chosen(row, attack) {
    if (attack === "worst") return row.worst === null ? [] : [{ attack: "any attack (worst case)", points: row.worst.points, band: null }];
    if (attack === "all") return row.curves;
    return row.curves.filter((curve) => curve.attack === (attack === "strongest" ? row.strongest?.attack : attack));
  }

  function values(rows, settings) {
    const all = [];
    const fits = [];
    for (const row of rows) {
      const share = (compute) => (compute === null || row.reference_compute === null ? null : compute / row.reference_compute);
      const place = { flops: (point) => point.compute, share: (point) => share(point.compute), queries: (point) => point.queries }[settings.x];
      for (const curve of chosen(row, settings.attack)) {
        const common = { series: row.series, attack: curve.attack, line: `${row.id} ${curve.attack}`, row: row.id };
        for (const point of points(curve.points)) {
          all.push({
            ...common, ...point, x: place(point), share: share(point.compute),
            each: point.budget === undefined ? null : row.worst.budget_in === "compute" ? `${Numbers.flops(point.budget)} FLOPs` : `${Numbers.amount(point.budget)} queries`,
          });
        }
        const band = curve.band;
        if (settings.x !== "queries" && band) band.compute.forEach((compute, at) => fits.push({ ...common, x: place({ compute }), value: band.value[at], low: band.low?.[at] ?? null, high: band.high?.[at] ?? null }));
      }
    }
    const drawn = all.filter((point) => point.x > 0 && (settings.y === "linear" || point.value > 0));
    // On a log axis a band that reaches 0 ends at the axis.
    const floor = settings.y === "log" && drawn.length ? Math.min(...drawn.map((point) => point.value)) / 2 : 0;
    for (const point of drawn) point.bottom = Math.max(point.low, floor);
    for (const point of fits) point.bottom = point.low === null ? null : Math.max(point.low, floor);
    const unknown = all.filter((point) => point.x === null).length;
    return { drawn, fits: fits.filter((point) => point.value >= floor), floor, unknown, left: all.length - drawn.length - unknown };
  }

  function spec(section, rows, settings, data) {
    const byAttack = rows.length === 1; // with a single row the attacks have the colours
    const attacks = [...new Set([...settings.palette.flatMap((row) => row.curves), ...data.drawn].map((of) => of.attack))];
    const shown = attacks.filter((attack) => data.drawn.some((point) => point.attack === attack));
    const palette = PlotStyle.colours(settings.palette);
    const x = PlotStyle.logAxis("x", AXIS[settings.x], data.drawn.map((point) => point.x), isNarrow() ? 2 : 3);
    const y = {
      field: "value", type: "quantitative",
      scale: settings.y === "log" ? { type: "log", domain: [data.floor, 1], nice: false } : { domain: [0, 1] },
      axis: { title: isNarrow() ? null : "attack success rate", format: "~%", ...(settings.y === "log" ? { values: PlotStyle.ticks(data.floor, 1, 4), labelOverlap: false } : { tickCount: 6 }) },
    };
    const colour = byAttack
      ? { field: "attack", scale: { domain: shown, range: PlotStyle.named(attacks).filter((_, at) => shown.includes(attacks[at])) } }
      : { field: "series", scale: { domain: rows.map((row) => row.series), range: rows.map((row) => palette.get(row.id)) } };
    const encoding = { x, color: { type: "nominal", sort: null, ...colour, legend: PlotStyle.legend({}, data.drawn.map((point) => (byAttack ? point.attack : point.series))) }, detail: { field: "line" } };
    const dashes = {
      field: "attack", type: "nominal", scale: { domain: shown, range: shown.map((attack) => PlotStyle.DASHES[attacks.indexOf(attack) % PlotStyle.DASHES.length]) },
      legend: shown.length > 1 ? PlotStyle.legend({ orient: "top", direction: "horizontal", symbolStrokeColor: PlotStyle.style("--text") }) : null,
    };
    const dash = byAttack ? {} : { strokeDash: dashes };
    // What the legend singles out, of what is drawn: else everything would be faint.
    const singled = { series: settings.legend.series.map((id) => rows.find((row) => row.id === id)?.series), attack: settings.legend.attack };
    const params = (byAttack ? ["attack"] : ["series", "attack"]).map((name) => {
      const value = singled[name].filter((each) => data.drawn.some((point) => point[name] === each)).map((each) => ({ [name]: each }));
      return { name, select: { type: "point", fields: [name] }, bind: "legend", ...(value.length ? { value } : {}) };
    });
    const when = { test: { and: params.map(({ name }) => ({ param: name })) } };
    const faint = (full, less) => ({ opacity: { condition: { ...when, value: full }, value: less } });
    const tooltip = PlotStyle.hover(HOVER.filter(({ name }) => name !== (settings.attack === "worst" ? "step" : "each")));
    const area = { type: "area", clip: true, aria: false };
    return {
      ...PlotStyle.frame(`Attack success rate against attack compute, ${section.task}, ${section.threat}.`), data: { values: PlotStyle.withTexts(data.drawn, HOVER) },
      layer: [
        { params, mark: { type: "line", strokeWidth: 2, clip: true, aria: false }, encoding: { ...encoding, y, ...dash, ...faint(1, 0.1) } },
        ...(settings.fit && data.fits.length ? [
          ...(data.fits.some((point) => point.bottom !== null) ? [{ data: { values: data.fits.filter((point) => point.bottom !== null) }, mark: area, encoding: { ...encoding, y: { ...y, field: "bottom" }, y2: { field: "high" }, ...faint(0.16, 0.02) } }] : []),
          { data: { values: data.fits }, mark: { type: "line", strokeWidth: 1.5, clip: true, aria: false, strokeDash: [2, 3] }, encoding: { ...encoding, y, ...faint(0.9, 0.05) } },
        ] : [{ mark: area, encoding: { ...encoding, y: { ...y, field: "bottom" }, y2: { field: "high" }, ...faint(0.13, 0.02) } }]),
        { mark: { type: "point", filled: true, size: 34, clip: false, aria: false, tooltip: true }, encoding: { ...encoding, y, tooltip, ...faint(0.9, 0.06) } },
        ...PlotStyle.rule(y, section.target_asr, `target ${Numbers.target(section.target_asr)}`),
      ],
    };
  }

  const title = "Attack success against attack compute";
  const WHICH = { strongest: "of the strongest attack by itself (the table’s ASR counts what any attack broke)", all: "of each attack by itself (the table’s ASR counts what any attack broke)", worst: "of all attacks together, as in the table’s ASR" };
  const explain = (settings) => `Lines: attacked examples broken so far, ${WHICH[settings.attack] ?? `of ${settings.attack} by itself`}, seeds pooled, against the mean attack compute per attacked example. Bands: 95% intervals${settings.fit ? " of the fits (dotted)" : ""}, of one seed for that model only. Click the legend to single out a line, shift-click for more.`;

  const asr = [{ name: "value", title: "ASR", write: Numbers.percent }];
  const COLUMNS = [
    { name: "series", title: "Row" }, { name: "attack", title: "Attack" }, { name: "step", title: "Step" }, ...asr, { name: "low", title: "Low", write: Numbers.percent },
    { name: "high", title: "High", write: Numbers.percent }, { name: "successes", title: "Broken" }, { name: "trials", title: "Attacked" },
    { name: "compute", title: "FLOPs per example", write: Numbers.flops }, { name: "queries", title: "Queries per example", write: Numbers.amount },
  ];
  const HOVER = [
    { name: "series", title: "row" }, { name: "attack", title: "attack" }, { name: "step", title: "step" }, { name: "each", title: "budget each" }, ...asr,
    { name: "interval", title: "95% interval", write: (_, { low, high }) => Numbers.interval(low, high) }, { name: "count", title: "broken", write: (_, { successes, trials }) => `${successes} of ${trials}` },
    { name: "compute", title: "FLOPs", write: Numbers.flops }, { name: "share", title: "of reference", write: Numbers.multiple }, { name: "queries", title: "queries", write: Numbers.amount },
  ];

  function draw(section, rows, settings) {
    const data = values(rows, settings);
    if (!data.drawn.length) return { nothing: data.unknown ? "Compute unknown: nothing to draw on this axis. Choose queries per example." : "Not enough data: no success to draw.", ...data };
    return { spec: spec(section, rows, settings, data), columns: COLUMNS, ...data };
  }

  return { draw, title, explain, chosen, points, controls: ["attack", "x", "y", "fit"] };
})();

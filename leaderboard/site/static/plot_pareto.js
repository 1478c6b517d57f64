// Utility against robustness: a point for each row, those that no other beats in both marked.
"use strict";

const ParetoPlot = (() => {
  const { isNarrow } = PlotStyle;
  const STATES = { front: "on the front", "within intervals": "beaten within intervals", beaten: "beaten", alone: "no other row of this victim to compare it with", apart: "not compared" };
  const SHAPES = { front: "diamond", "within intervals": "circle", beaten: "circle", alone: "square", apart: "cross" };
  const points = (share) => (100 * share).toFixed(1).replace("-", "−");

  // The shares that show utility of rows that can be held against each other, by task: [task, name].
  function measures(rows) {
    const named = rows.flatMap((row) => (row.held && !row.no_point ? row.utilities ?? [] : [])).filter((utility) => utility.rate);
    return [...new Map(named.map((utility) => [utility.task, utility.name]))];
  }

  const utilityOf = (row, task) => (row.utilities ?? []).find((utility) => utility.task === task && utility.rate);

  function values(section, rows, settings) {
    const drawn = [];
    for (const row of rows) {
      const utility = utilityOf(row, settings.utility);
      if (!utility || !row.held) continue;
      const place = row.no_point ? "apart" : utility[settings.front === "table" ? "front_of_table" : "front_of_victim"] ?? "alone";
      const loss = utility.loss;
      drawn.push({
        series: row.series, row: row.id, group: settings.front === "table" ? "" : `${row.victim}\n${row.family}`, place, state: STATES[place],
        utility: utility.rate.value, utility_low: utility.rate.low, utility_high: utility.rate.high,
        held: row.held.value, held_low: row.held.low, held_high: row.held.high,
        loss: loss?.value ?? null, loss_low: loss?.low ?? null, loss_high: loss?.high ?? null, note: [row.no_point, row.rank_note?.startsWith("loses") ? row.rank_note : "", ...(row.utility_notes ?? [])].filter(Boolean).join("; "),
      });
    }
    return { drawn, fits: [], unknown: 0, left: rows.length - drawn.length };
  }

  // What a defense may lose of the undefended victim's share, where the spec bounds it.
  function bounds(section, rows, settings) {
    if (section.max_loss === null || section.max_loss === undefined) return [];
    const victims = new Set(rows.map((row) => row.victim));
    return section.rows
      .filter((row) => victims.has(row.victim) && row.defense === "none" && utilityOf(row, settings.utility)?.bounded)
      .map((row) => ({ least: utilityOf(row, settings.utility).rate.value - section.max_loss }));
  }

  function draw(section, rows, settings) {
    const data = values(section, rows, settings);
    if (!data.drawn.length) return { nothing: "Not enough data: no drawn row has this utility and was attacked.", ...data };
    const name = measures(section.rows).find(([task]) => task === settings.utility)[1];
    const palette = PlotStyle.colours(settings.palette);
    const percentAxis = (title) => ({ title, format: "~%", tickCount: 6 });
    const x = { field: "utility", type: "quantitative", scale: { zero: false, nice: true, padding: 12 }, axis: { ...percentAxis(`utility: ${name}`), titleLimit: isNarrow() ? 260 : 700 } };
    const y = { field: "held", type: "quantitative", scale: { domain: [0, 1] }, axis: percentAxis(isNarrow() ? null : "held under attack, at full budget") };
    const color = { field: "series", type: "nominal", sort: null, scale: { domain: rows.map((row) => row.series), range: rows.map((row) => palette.get(row.id)) }, legend: PlotStyle.legend({}, rows.map((row) => row.series)) };
    const states = Object.keys(STATES).filter((place) => data.drawn.some((point) => point.place === place));
    const shape = { field: "state", type: "nominal", sort: null, scale: { domain: states.map((place) => STATES[place]), range: states.map((place) => SHAPES[place]) }, legend: PlotStyle.legend({ orient: "top", symbolType: undefined, symbolSize: 90, symbolStrokeWidth: 1.5, symbolStrokeColor: PlotStyle.style("--text"), symbolFillColor: "transparent" }) };
    const tooltip = PlotStyle.hover(HOVER);
    const muted = PlotStyle.style("--muted");
    const onFront = data.drawn.filter((point) => point.place === "front").sort((a, b) => a.utility - b.utility);
    const least = bounds(section, rows, settings);
    const spec = {
      ...PlotStyle.frame(`Robustness against utility (${name}), ${section.task}, ${section.threat}.`), data: { values: PlotStyle.withTexts(data.drawn, HOVER) },
      layer: [
        ...(least.length ? [{ data: { values: least }, mark: { type: "rule", strokeDash: [3, 4], strokeWidth: 1, color: muted, aria: false }, encoding: { x: { ...x, field: "least" } } }] : []),
        ...(least.length === 1 ? [{ data: { values: least.map((each) => ({ ...each, text: `${+(100 * section.max_loss).toPrecision(3)} points lost` })) }, mark: { type: "text", align: "right", baseline: "top", dx: -5, dy: 4, y: 0, fontSize: 11, color: muted, aria: false }, encoding: { x: { ...x, field: "least" }, text: { field: "text" } } }] : []),
        { data: { values: onFront }, mark: { type: "line", interpolate: "step-before", strokeWidth: 1.5, strokeDash: [6, 3], color: muted, aria: false }, encoding: { x, y, detail: { field: "group" }, order: { field: "utility" } } },
        { mark: { type: "rule", strokeWidth: 1.5, aria: false, opacity: 0.5 }, encoding: { x: { ...x, field: "utility_low" }, x2: { field: "utility_high" }, y, color } },
        { mark: { type: "rule", strokeWidth: 1.5, aria: false, opacity: 0.5 }, encoding: { x, y: { ...y, field: "held_low" }, y2: { field: "held_high" }, color } },
        {
          mark: { type: "point", filled: true, strokeWidth: 1.5, opacity: 1, aria: false, tooltip: true },
          encoding: { x, y, color, shape, tooltip, size: { condition: { test: "datum.place === 'front'", value: 150 }, value: 75 }, fillOpacity: { condition: { test: "datum.place === 'front' || datum.place === 'alone'", value: 1 }, value: 0.25 }, stroke: color },
        },
      ],
    };
    return { spec, columns: COLUMNS, ...data };
  }

  const share = (name, title) => ({ name, title, write: Numbers.percent });
  const inPoints = (value, { loss }) => (loss === null ? "" : `${points(value)} points`);
  const COLUMNS = [
    { name: "series", title: "Row" }, { name: "state", title: "Front" }, share("utility", "Utility"), share("utility_low", "Utility, low"), share("utility_high", "Utility, high"),
    { name: "loss", title: "Loss", write: inPoints }, { name: "loss_low", title: "Loss, low", write: inPoints }, { name: "loss_high", title: "Loss, high", write: inPoints },
    share("held", "Held"), share("held_low", "Held, low"), share("held_high", "Held, high"), { name: "note", title: "Note" },
  ];
  const HOVER = [
    { name: "series", title: "row" }, { name: "state", title: "front" }, share("utility", "utility"), { name: "utility_interval", title: "95% interval", write: (_, point) => Numbers.interval(point.utility_low, point.utility_high) },
    { name: "loss", title: "loss", write: (_, { loss, loss_low, loss_high }) => (loss === null ? "" : `${points(loss)} points (${points(loss_low)} to ${points(loss_high)})`) }, share("held", "held"),
    { name: "held_interval", title: "95% interval of held", write: (_, point) => Numbers.interval(point.held_low, point.held_high) }, { name: "note", title: "note" },
  ];
  const title = "Utility against robustness";
  const explain = (settings) => `Points: clean examples got right, and examples that no attack broke at its full budget (of answers in text: all prompts that did not end as the attacker wants), with 95% intervals both ways. Diamonds: no other row ${settings.front === "table" ? "of the table" : "of the same victim"} has as much of both and more of one; the dashed steps join them. Beaten: the intervals of another row lie above in both; within intervals: they do not.`;

  return { draw, title, explain, measures, controls: ["utility", "front"] };
})();

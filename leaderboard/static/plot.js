// The plot of one section: attack success against attack compute, drawn by Vega-Lite.
"use strict";

const Plot = (() => {
  // Okabe and Ito's colours less yellow and black, then muted ones for long lists; read on light and dark.
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#a6761d", "#66a61e", "#e7298a", "#7f8c8d", "#1b9e9e"];
  const SHADES = 4; // more shades of one hue cannot be told apart
  const DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 1]];

  const AXIS = {
    flops: "attack compute per example, FLOPs (nominal)",
    share: "attack compute per example, share of reference compute",
    queries: "queries per example",
  };

  const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

  // Row id -> colour. With several victims the hue is the victim's, darker the more was spent on its defense; else each row has its own hue.
  function colours(rows) {
    const victims = [...new Set(rows.map((row) => row.victim))];
    const family = (victim) => rows.filter((row) => row.victim === victim).sort((a, b) => (a.defense_compute ?? Infinity) - (b.defense_compute ?? Infinity) || 0);
    const shaded = victims.length > 1 && victims.every((victim) => family(victim).length <= SHADES);
    if (!shaded) return new Map(rows.map((row, at) => [row.id, shade(COLOURS[at % COLOURS.length], isDark() ? 0.8 : 0.5)]));
    const sized = [...victims].sort((a, b) => (family(a)[0].n_params ?? Infinity) - (family(b)[0].n_params ?? Infinity) || 0);
    return new Map(sized.flatMap((victim, at) => family(victim).map((row, depth, all) => [row.id, shade(COLOURS[at % COLOURS.length], all.length > 1 ? depth / (all.length - 1) : 0.5)])));
  }

  // depth 0 is lightest, 1 darkest; on a dark page all are lighter, so that the darkest still stands out.
  function shade(hex, depth) {
    const white = isDark() ? 0.55 * (1 - depth) : Math.max(0, 0.5 - depth);
    const black = isDark() ? 0 : Math.max(0, 0.76 * (depth - 0.5));
    const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `#${parts.map((part) => Math.round((part + (255 - part) * white) * (1 - black)).toString(16).padStart(2, "0")).join("")}`;
  }

  // Powers of ten; with 2 and 5 between them when there are few.
  function ticks(low, high, few) {
    const all = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) for (const digit of [1, 2, 5]) all.push(Number(`${digit}e${power}`));
    const inside = all.filter((tick) => tick >= low && tick <= high);
    const tens = inside.filter((tick) => tick.toExponential().startsWith("1e"));
    return tens.length >= few ? tens : inside;
  }

  // Seven digits, as in data.json: ``1.25e+9``; null is unknown.
  function digits(value) {
    return value === null ? "unknown" : Number(value.toPrecision(7)).toExponential();
  }

  function style(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function strongest(row) {
    return row.asr === null ? null : row.asr.attack;
  }

  function curves(row, choice) {
    if (choice === "worst") return row.worst === null ? [] : [{ attack: "worst case over attacks", points: row.worst.points, fit_line: [] }];
    if (choice === "all") return row.curves;
    return row.curves.filter((curve) => curve.attack === (choice === "strongest" ? strongest(row) : choice));
  }

  function values(section, rows, settings) {
    const points = [];
    const fits = [];
    for (const row of rows) {
      const share = (compute) => compute === null || row.reference_compute === null ? null : compute / row.reference_compute;
      const place = { flops: (point) => point.compute, share: (point) => share(point.compute), queries: (point) => point.queries }[settings.x];
      for (const curve of curves(row, settings.attack)) {
        const common = { series: row.series, attack: curve.attack, line: `${row.id} ${curve.attack}` };
        for (const point of curve.points) {
          points.push({
            ...common, ...point, x: place(point), flops: digits(point.compute), share: digits(share(point.compute)), asked: digits(point.queries),
            each: settings.attack === "worst" ? `${digits(point.budget)} ${row.worst.budget_in === "compute" ? "FLOPs" : "queries"}` : null,
            interval: `${point.low} – ${point.high}`, count: `${point.successes} of ${point.trials}`,
          });
        }
        if (settings.x !== "queries") for (const point of curve.fit_line) fits.push({ ...common, x: place(point), value: point.value });
      }
    }
    const drawn = points.filter((point) => point.x > 0 && (settings.y === "linear" || point.value > 0));
    // On a log axis a band that reaches 0 ends at the axis.
    const floor = settings.y === "log" && drawn.length ? Math.min(...drawn.map((point) => point.value)) / 2 : 0;
    for (const point of drawn) point.bottom = Math.max(point.low, floor);
    const unknown = points.filter((point) => point.x === null).length;
    return { points: drawn, fits: fits.filter((point) => point.value >= floor), floor, unknown, left: points.length - drawn.length - unknown };
  }

  function spec(section, rows, settings, data) {
    const names = rows.map((row) => row.series);
    const palette = colours(section.rows);
    const compute = data.points.map((point) => point.x);
    const attacks = [...new Set([...section.rows.flatMap((row) => row.curves), ...data.points].map((of) => of.attack))];
    const drawn = attacks.filter((attack) => data.points.some((point) => point.attack === attack));
    const narrow = window.innerWidth < 700;
    const x = {
      field: "x", type: "quantitative", scale: { type: "log", nice: false, padding: 8 },
      axis: { title: AXIS[settings.x], format: "~e", values: ticks(Math.min(...compute), Math.max(...compute), narrow ? 2 : 3), labelOverlap: true },
    };
    const y = {
      field: "value", type: "quantitative",
      scale: settings.y === "log" ? { type: "log", domain: [data.floor, 1], nice: false } : { domain: [0, 1] },
      axis: { title: narrow ? null : "attack success rate", format: "~%", ...(settings.y === "log" ? { values: ticks(data.floor, 1, 4), labelOverlap: false } : { tickCount: 6 }) },
    };
    const legend = (title) => ({ title, orient: "bottom", direction: "vertical", columns: narrow ? 1 : 3, labelLimit: narrow ? window.innerWidth - 150 : 360, symbolOpacity: 1, symbolStrokeWidth: 3 });
    const chosen = { and: [{ param: "series" }, { param: "attack" }] };
    const encoding = {
      x,
      color: { field: "series", type: "nominal", sort: null, scale: { domain: names, range: rows.map((row) => palette.get(row.id)) }, legend: { ...legend(null), symbolType: "stroke" } },
      detail: { field: "line" },
    };
    const dash = {
      field: "attack", type: "nominal", scale: { domain: drawn, range: drawn.map((attack) => DASHES[attacks.indexOf(attack) % DASHES.length]) },
      legend: drawn.length > 1 ? { ...legend(null), orient: "top", direction: "horizontal", symbolType: "stroke", symbolStrokeColor: style("--text") } : null,
    };
    const tooltip = [
      { field: "series", title: "row" }, { field: "attack", title: "attack" }, settings.attack === "worst" ? { field: "each", title: "budget each" } : { field: "step", title: "step" },
      { field: "value", type: "quantitative", format: "", title: "ASR" }, { field: "interval", title: "95% interval" }, { field: "count", title: "broken" },
      { field: "flops", title: "FLOPs" }, { field: "share", title: "of reference" }, { field: "asked", title: "queries" },
    ];
    return {
      data: { values: data.points }, width: "container", height: narrow ? 300 : 400, autosize: { type: "fit-x", contains: "padding" },
      description: `Attack success rate against attack compute, ${section.task}, ${section.threat}. The same numbers are in data.json.`,
      layer: [
        {
          params: [
            { name: "series", select: { type: "point", fields: ["series"] }, bind: "legend" },
            { name: "attack", select: { type: "point", fields: ["attack"] }, bind: "legend" },
          ],
          mark: { type: "line", strokeWidth: 2, clip: true, aria: false },
          encoding: { ...encoding, y, strokeDash: dash, opacity: { condition: { ...wrap(chosen), value: 1 }, value: 0.1 } },
        },
        {
          mark: { type: "area", clip: true, aria: false },
          encoding: { ...encoding, y: { ...y, field: "bottom" }, y2: { field: "high" }, opacity: { condition: { ...wrap(chosen), value: 0.13 }, value: 0.02 } },
        },
        ...(settings.fit ? [{
          data: { values: data.fits }, mark: { type: "line", strokeWidth: 1.5, clip: true, aria: false, strokeDash: [2, 3] },
          encoding: { ...encoding, y, opacity: { condition: { ...wrap(chosen), value: 0.9 }, value: 0.05 } },
        }] : []),
        {
          mark: { type: "point", filled: true, size: 34, clip: false, aria: false, tooltip: true },
          encoding: { ...encoding, y, tooltip, opacity: { condition: { ...wrap(chosen), value: 0.9 }, value: 0.06 } },
        },
        {
          data: { values: [{ target: section.target_asr }] }, mark: { type: "rule", strokeDash: [3, 4], strokeWidth: 1, color: style("--muted"), aria: false },
          encoding: { y: { ...y, field: "target" } },
        },
        {
          data: { values: [{ target: section.target_asr, text: `target ${+(100 * section.target_asr).toPrecision(4)}%` }] },
          mark: { type: "text", align: "left", baseline: "bottom", dx: 4, dy: -2, x: 0, color: style("--muted"), fontSize: 11, aria: false },
          encoding: { y: { ...y, field: "target" }, text: { field: "text" } },
        },
      ],
      config: {
        background: null, font: style("--font"), view: { stroke: null },
        axis: { labelColor: style("--muted"), titleColor: style("--muted"), gridColor: style("--line"), domainColor: style("--line"), tickColor: style("--line"), labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 10 },
        legend: { labelColor: style("--text"), labelFontSize: window.innerWidth < 700 ? 11 : 12, rowPadding: 4, columnPadding: 22, symbolSize: 260, offset: 14 },
      },
    };
  }

  const wrap = (test) => ({ test });

  const drawing = new WeakMap(); // canvas -> the latest request, so that a slow drawing never replaces a newer one

  async function draw(canvas, section, rows, settings) {
    const ticket = {};
    drawing.set(canvas, ticket);
    const data = values(section, rows, settings);
    const box = document.createElement("div");
    if (!data.points.length) {
      box.className = "nothing";
      const why = data.unknown ? "Compute unknown: nothing to draw on this axis. Choose queries per example." : "Not enough data: no success to draw.";
      box.textContent = rows.length ? why : "No row is ticked.";
      canvas.replaceChildren(box);
      return data;
    }
    canvas.style.minHeight = `${canvas.offsetHeight}px`; // the page does not jump while the new plot is made
    canvas.replaceChildren(box);
    await vegaEmbed(box, spec(section, rows, settings, data), {
      mode: "vega-lite", renderer: "svg", tooltip: { theme: isDark() ? "dark" : "light" },
      actions: { export: true, source: false, compiled: false, editor: false },
      downloadFileName: `attack-scaling-${section.id}`,
    });
    if (drawing.get(canvas) === ticket) canvas.style.minHeight = "";
    return data;
  }

  return { draw, colours };
})();

// Colours, axes and looks that all plots share.
"use strict";

const PlotStyle = (() => {
  // Okabe and Ito's colours less yellow and black, then muted ones for long lists; read on light and dark.
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#a6761d", "#66a61e", "#e7298a", "#7f8c8d", "#1b9e9e"];
  const SHADES = 5; // more shades of one hue cannot be told apart
  const DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 1]];

  const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
  const isNarrow = () => window.innerWidth < 700;
  const DEPTHS = { light: [0.5, 0.05, 0.95, 0.28, 0.72], dark: [0.8, 0.2, 1, 0.5, 0.35] }; // of each further round of the hues
  const hue = (at) => COLOURS[at % COLOURS.length];
  const listed = (at) => shade(hue(at), DEPTHS[isDark() ? "dark" : "light"][Math.floor(at / COLOURS.length) % SHADES]);

  // Row id -> colour. With several victims the hue is the victim's, darker the more was spent on its defense; else each row has its own hue.
  function colours(rows) {
    const victims = [...new Set(rows.map((row) => row.victim))];
    const family = (victim) => rows.filter((row) => row.victim === victim).sort((a, b) => (a.defense_compute ?? Infinity) - (b.defense_compute ?? Infinity) || 0);
    const shaded = victims.length > 1 && victims.every((victim) => family(victim).length <= SHADES);
    // One defense over its rounds: one hue, darker by round.
    if (victims.length === 1 && rows.length > 1 && rows.length <= 2 * SHADES && new Set(rows.map((row) => row.defense)).size === 1) return new Map(family(victims[0]).map((row, depth, all) => [row.id, shade(hue(0), depth / (all.length - 1))]));
    if (!shaded) return new Map(rows.map((row, at) => [row.id, listed(at)]));
    const sized = [...victims].sort((a, b) => (family(a)[0].n_params ?? Infinity) - (family(b)[0].n_params ?? Infinity) || 0);
    return new Map(sized.flatMap((victim, at) => family(victim).map((row, depth, all) => [row.id, shade(hue(at), all.length > 1 ? depth / (all.length - 1) : 0.5)])));
  }

  // One hue per name, for lines that are not rows.
  const named = (names) => names.map((_, at) => listed(at));

  // depth 0 is lightest, 1 darkest; on a dark page all are lighter, so that the darkest still stands out.
  function shade(hex, depth) {
    const white = isDark() ? 0.55 * (1 - depth) : Math.max(0, 0.5 - depth);
    const black = isDark() ? 0 : Math.max(0, 0.76 * (depth - 0.5));
    const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `#${parts.map((part) => Math.round((part + (255 - part) * white) * (1 - black)).toString(16).padStart(2, "0")).join("")}`;
  }

  // Powers of ten; with 2 and 5 between them when there are few, and only some when there are many.
  function ticks(low, high, few) {
    const all = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) for (const digit of [1, 2, 5]) all.push(Number(`${digit}e${power}`));
    const inside = all.filter((tick) => tick >= low && tick <= high);
    const tens = inside.filter((tick) => tick.toExponential().startsWith("1e"));
    return tens.length >= few ? tens : inside;
  }

  // Powers of ten as people write them: ``10⁹``, ``5 × 10⁹``; plain numbers near 1.
  function power(value) {
    if (value >= 0.01 && value < 1000) return `${+value.toPrecision(3)}`;
    const [digit, exponent] = value.toExponential().split("e");
    const raised = [...exponent.replace("+", "")].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
    return `${digit === "1" ? "" : `${digit} × `}10${raised}`;
  }

  function style(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function logAxis(field, title, values, few) {
    const known = values.filter((value) => value > 0);
    return {
      field, type: "quantitative", scale: { type: "log", nice: false, padding: 8 },
      axis: { title, labelExpr: "power(datum.value)", values: ticks(Math.min(...known), Math.max(...known), few), labelOverlap: true },
    };
  }

  // As many columns as the longest of the names lets the page hold.
  const legend = (more, names = []) => ({ title: null, orient: "bottom", direction: "horizontal", columns: isNarrow() ? 1 : Math.min(3, Math.max(1, Math.floor((Math.min(window.innerWidth, 1500) - 160) / (7 * Math.max(...names.map((name) => name.length), 12) + 60)))), labelLimit: window.innerWidth - 200, symbolOpacity: 1, symbolStrokeWidth: 3, symbolType: "stroke", ...more });

  function config() {
    return {
      background: null, font: style("--font"), view: { stroke: null },
      axis: { labelColor: style("--muted"), titleColor: style("--muted"), gridColor: style("--line"), domainColor: style("--strong"), tickColor: style("--line"), labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 10 },
      legend: { labelColor: style("--text"), labelFontSize: isNarrow() ? 11 : 12, rowPadding: 4, columnPadding: 22, symbolSize: 260, offset: 14 },
    };
  }

  const frame = (description) => ({ width: "container", height: isNarrow() ? 300 : 400, autosize: { type: "fit-x", contains: "padding" }, description, config: config() });

  // A horizontal rule with words, for a target.
  function rule(y, value, words) {
    const common = { color: style("--muted"), aria: false };
    return [
      { data: { values: [{ target: value }] }, mark: { type: "rule", strokeDash: [3, 4], strokeWidth: 1, ...common }, encoding: { y: { ...y, field: "target" } } },
      { data: { values: [{ target: value, text: words }] }, mark: { type: "text", align: "left", baseline: "bottom", dx: 4, dy: -2, x: 0, fontSize: 11, ...common }, encoding: { y: { ...y, field: "target" }, text: { field: "text" } } },
    ];
  }

  // Points with what people read of them: a text for each column that has a way to write its numbers.
  const withTexts = (points, columns) => points.map((point) => ({ ...point, text: Object.fromEntries(columns.filter(({ write }) => write).map(({ name, write }) => [name, write(point[name], point)])) }));

  // A line of a hover: what the table of numbers has in this column.
  const hover = (columns) => columns.map(({ name, title, write }) => ({ field: write ? `text.${name}` : name, title, type: "nominal" }));

  return { colours, named, ticks, power, style, logAxis, legend, frame, rule, withTexts, hover, isDark, isNarrow, DASHES };
})();

// Numbers as the tables write them: the same as in the pages' own texts (leaderboard/table_numbers.py).
"use strict";

const Numbers = (() => {
  const raised = (exponent) => [...`${exponent}`].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
  const known = (write) => (value) => (value === null || value === undefined || Number.isNaN(value) ? "unknown" : write(value));

  // Two significant digits: ``3.1 × 10¹²``; 0 as ``0``.
  function scientific(value) {
    if (value === 0) return "0";
    const [digits, exponent] = value.toExponential(1).split("e");
    return `${digits} × 10${raised(Number(exponent))}`;
  }

  // A multiple: ``0.12×``, ``35×``, ``2.1 × 10⁻⁶×`` where plain digits would be long.
  function multiple(value) {
    if (value === 0) return "0×";
    if (value >= 0.01 && value < 1000) return `${value < 100 ? Number(value.toPrecision(2)) : value.toFixed(0)}×`;
    return `${scientific(value)}×`;
  }

  // A count or a mean of counts to three digits: ``2.5``, ``2,560``; scientific from a million.
  const amount = (value) => (value >= 1e6 ? scientific(value) : Number(value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 9 }));

  // One decimal; a tie goes to the even digit, as in the tables.
  function decimal(value) {
    const tie = /^(-?\d+\.\d)50*$/.exec(value.toFixed(20));
    return tie && Number(tie[1].at(-1)) % 2 === 0 ? tie[1] : value.toFixed(1);
  }

  const percent = (value) => `${decimal(100 * value)}%`;
  const interval = (low, high) => `${decimal(100 * low)} – ${percent(high)}`;
  const target = (value) => `${+(100 * value).toPrecision(6)}%`; // a share that somebody has set

  return { flops: known(scientific), multiple: known(multiple), amount: known(amount), percent: known(percent), interval, target };
})();

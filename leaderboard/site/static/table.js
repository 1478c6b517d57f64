// Sorting and filtering of the standings tables.
"use strict";

const Standings = (() => {
  const ASCENDING_FIRST = new Set(["Rank", "Victim", "Defense"]); // ranks from 1, names from A; other numbers from the largest

  function key(row, column) {
    const text = row.cells[column].dataset.sort ?? "";
    return { text, number: text === "" ? NaN : Number(text) };
  }

  // Rows without a value go last, whichever way the column is sorted.
  function compare(a, b, sign, numeric) {
    if (!numeric) return sign * a.text.localeCompare(b.text, "en", { numeric: true });
    if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
    return a.number === b.number ? 0 : sign * (a.number < b.number ? -1 : 1);
  }

  function sort(table, column, direction) {
    const head = table.tHead.rows[0].cells;
    const numeric = head[column].classList.contains("num");
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row, column), at: Number(row.dataset.at) }));
    rows.sort((a, b) => compare(a.key, b.key, sign, numeric) || a.at - b.at); // equal rows stand as they did at first
    table.tBodies[0].append(...rows.map((entry) => entry.row));
    for (const cell of head) cell.removeAttribute("aria-sort");
    head[column].setAttribute("aria-sort", direction);
  }

  function makeSortable(table, changed) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      if (cell.classList.contains("pick")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...[...cell.childNodes].filter((node) => !node.classList?.contains("tip")));
      cell.prepend(button);
      button.addEventListener("click", () => {
        const now = cell.getAttribute("aria-sort");
        const first = ASCENDING_FIRST.has(button.textContent.trim()) ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        sort(table, column, now === first ? other : first);
        changed();
      });
    });
  }

  // Which column sorts, and how: ``clean-descending``; "" as the page came.
  function sorted(table) {
    const cell = [...table.tHead.rows[0].cells].find((each) => each.hasAttribute("aria-sort"));
    const now = cell ? `${cell.dataset.column}-${cell.getAttribute("aria-sort")}` : "";
    return now === "rank-ascending" ? "" : now;
  }

  function restore(table, name) {
    const [column, direction] = (name || "rank-ascending").split("-");
    const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.dataset.column === column);
    if (at >= 0 && ["ascending", "descending"].includes(direction)) sort(table, at, direction);
  }

  // A row matches when each word of the search is in its names, and victim and defense are those chosen ("" for any). A
  // number must be a whole word of them: 4 is no part of 14m.
  function filter(table, words, chosen, names) {
    const inside = (text, word) => (/^\d+$/.test(word) ? new RegExp(`(^|[^\\d.])${word}([^\\w.]|$)`).test(text) : text.includes(word));
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = names(row.id).toLowerCase();
      const fits = (name) => !chosen[name] || row.dataset[name] === chosen[name];
      row.hidden = !(fits("victim") && fits("defense") && words.every((word) => inside(text, word)));
      shown += row.hidden ? 0 : 1;
    }
    return shown;
  }

  return { makeSortable, filter, sorted, restore };
})();

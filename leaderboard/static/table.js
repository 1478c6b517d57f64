// Sorting and filtering of the standings tables.
"use strict";

const Standings = (() => {
  const ASCENDING_FIRST = new Set(["Victim", "Defense"]); // names from A; numbers from the largest

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
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row, column) }));
    rows.sort((a, b) => compare(a.key, b.key, sign, numeric)); // stable: equal rows keep their order
    table.tBodies[0].append(...rows.map((entry) => entry.row));
    for (const cell of head) cell.removeAttribute("aria-sort");
    head[column].setAttribute("aria-sort", direction);
  }

  function makeSortable(table) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      if (cell.classList.contains("pick")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const now = cell.getAttribute("aria-sort");
        const first = ASCENDING_FIRST.has(button.textContent.trim()) ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        sort(table, column, now === first ? other : first);
      });
    });
  }

  // A row matches when each word of the filter is somewhere in it; `more` gives text beyond the row's own, such as its attacks.
  function filter(table, words, more) {
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = `${row.textContent} ${more(row.id)}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    return shown;
  }

  return { makeSortable, filter };
})();

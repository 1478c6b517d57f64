// A page about one victim and defense, or one attack: draws the figures that the page names.
"use strict";

// The round that the reader came from, or chooses: its figures and strings are shown, and its lines marked.
(() => {
  const select = document.getElementById("round");
  if (!select) return;
  function show(round) {
    if ([...select.options].every(({ value }) => value !== round)) return;
    select.value = round;
    for (const part of document.querySelectorAll("[data-round]")) part.hidden = part.dataset.round !== round;
    for (const line of document.querySelectorAll("[data-line]")) line.classList.toggle("chosen", line.dataset.line === round);
  }
  select.addEventListener("change", () => { show(select.value); Address.write({ ...Address.read(), round: select.value }); });
  const restore = () => show(Address.read().round ?? select.value);
  Address.watch(restore);
  restore();
})();

window.leaderboardData.then(Figures.fromPage);

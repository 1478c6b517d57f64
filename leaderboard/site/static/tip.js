// Explanations of words where they stand: shown when a word is pointed at or has the focus, hidden by Escape. And buttons
// that copy the command beside them.
"use strict";

(() => {
  const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
  tip.setAttribute("role", "tooltip");
  let shown = null;

  function show(word) {
    hide();
    shown = word;
    tip.textContent = word.dataset.tip;
    word.setAttribute("aria-describedby", tip.id);
    word.after(tip);
    tip.hidden = false;
    place();
  }

  // Also while the page scrolls, as it does to a word that gets the focus.
  function place() {
    if (!shown) return;
    const at = shown.getBoundingClientRect();
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8))}px`;
    tip.style.top = `${at.bottom + height + 4 < window.innerHeight ? at.bottom : at.top - height}px`;
  }

  function hide() {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    tip.hidden = true;
  }

  for (const word of document.querySelectorAll("[data-tip]")) {
    word.addEventListener("focus", () => show(word));
    word.addEventListener("pointerenter", () => show(word));
    word.addEventListener("blur", hide);
    word.addEventListener("pointerleave", (event) => { if (event.relatedTarget !== tip) hide(); });
  }
  tip.addEventListener("pointerleave", hide);
  addEventListener("scroll", place, true);
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text); // to be copied by hand
        button.textContent = "Selected";
      }
    });
  }
})();
